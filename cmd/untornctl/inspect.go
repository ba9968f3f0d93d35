package main

import (
	"context"
)

var inspectCommand = command{
	name: "inspect", short: "what is in a directory: super, log, doublewrite, files, health",
	run: runInspect,
	help: `
usage: untornctl inspect D [-json FILE]

Shows what is in the engine directory D: geometry, the copies of super and what the newest says,
log segments, doublewrite regions, data files, and one line on its health. It takes no lock and
changes nothing, so D may belong to a running engine or be broken.

` + whereHelp + `  -json FILE     the same for scripts, "-" for standard output

Exit: 0 an open would go ahead, 1 it would be refused (the first line says why), 2 usage, 3 D is not
there or no engine's.

Examples
  untornctl inspect /srv/data
  untornctl inspect /srv/data -json - | jq .health
`}

func runInspect(ctx context.Context, k *call) error {
	var w where
	fs := k.flags()
	w.flags(fs)
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	d, err := w.open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := d.Look(ctx)
	if err != nil {
		return err
	}
	if !k.quiet() {
		if err := s.Write(k.out); err != nil {
			return err
		}
	}
	if err := k.writeJSON(s); err != nil {
		return err
	}
	if !s.OK {
		return errNotSo
	}
	return nil
}
