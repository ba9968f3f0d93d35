package main

import (
	"context"
	"errors"
	"os"

	"github.com/untorn/untorn/demo"
)

var demoCommand = command{
	name: "demo", short: "five seconds: a page torn, detected, repaired, and not repaired without",
	run: runDemo,
	help: `
usage: untornctl demo [-dir D] [-keep]

Writes a page through three real engines (doublewrite, detect, none), tears it as a power cut during
the in-place write does, and shows what each of them makes of it.

  -dir D         make the temporary directory in D (default: the system's)
  -keep          keep it, for a look with untornctl inspect, verify and dump

Exit: 0 all went as told, 2 usage, 3 it did not.

Example
  untornctl demo
`}

func runDemo(ctx context.Context, k *call) (err error) {
	var in string
	var keep bool
	fs := k.flags()
	fs.StringVar(&in, "dir", "", "")
	fs.BoolVar(&keep, "keep", false, "")
	if _, err := k.parse(fs); err != nil {
		return err
	}
	if k.json != "" {
		return usagef("demo is for people: it has no -json")
	}
	dir, err := os.MkdirTemp(in, "untorn-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if !keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := demo.Run(ctx, k.out, dir); err != nil {
		return err
	}
	if keep {
		k.sayf("kept: %s", dir)
	}
	return nil
}
