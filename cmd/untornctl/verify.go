package main

import (
	"context"
	"fmt"
	"io"
)

var verifyCommand = command{
	name: "verify", short: "is this directory sound? every page, record and header of it",
	run: runVerify,
	help: `
usage: untornctl verify D [-json FILE]
       untornctl verify -profile PROFILE D [-json FILE]

Reads the whole engine directory D: copies of super, the log's chain, doublewrite headers, and the
checksum and identity of every page of every data file. It judges as the next open would: a damaged
page that a doublewrite copy repairs is "repairable", one without is "damaged". It takes no lock and
changes nothing; on a running engine whatever looks wrong is read again before it is reported.

With -profile it reads no page: it says what has changed on the host and below D since untornctl
certify wrote PROFILE. Each change is void (the certificate does not hold any more), unread (it cannot
be told: run it as root), look (for your judgement) or note.

  -profile FILE  of untornctl certify; places of log and doublewrite file are those of the profile
` + whereHelp + `  -json FILE     the verdict for scripts, "-" for standard output

Exit: 0 sound, 1 something is damaged or needs repair (each is named), 2 usage, 3 D is not there or
cannot be read. With -profile: 0 the certificate holds, 1 it does not, 3 it cannot be told.

Examples
  untornctl verify /srv/data
  untornctl verify -profile /etc/untorn/profile.json /srv/data
  untornctl verify /srv/data -json - | jq '.findings[]'
`}

func runVerify(ctx context.Context, k *call) error {
	var w where
	var profile string
	fs := k.flags()
	w.flags(fs)
	fs.StringVar(&profile, "profile", "", "")
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	if profile != "" {
		if w.wal != "" || w.dwb != "" {
			return usagef("-profile names the other places itself")
		}
		return verifyProfile(ctx, k, profile, args[0])
	}
	d, err := w.open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	line := progress{w: k.err, on: terminal(k.err)}
	v, err := d.Verify(ctx, func(done, total int64) {
		line.show(fmt.Sprintf("%d of %d MiB of pages", done>>20, total>>20))
	})
	line.clear()
	if err != nil {
		return err
	}
	if !k.quiet() {
		if _, err := io.WriteString(k.out, v.Text()); err != nil {
			return err
		}
	}
	if err := k.writeJSON(v); err != nil {
		return err
	}
	if !v.OK {
		return errNotSo
	}
	return nil
}
