package main

import (
	"context"
	"io"
)

var verifyCommand = command{
	name: "verify", short: "is this directory sound? every page, record and header of it",
	run: runVerify,
	help: `
usage: untornctl verify D [-json FILE]
       untornctl verify -profile PROFILE D [-json FILE]
       untornctl verify -format postgres|innodb PATH [-page BYTES] [-json FILE]

Reads the whole engine directory D: copies of super, the log's chain, doublewrite headers, and the
checksum and identity of every page of every data file. It judges as the next open would: a damaged
page that a doublewrite copy repairs is "repairable", one without is "damaged". It takes no lock and
changes nothing; on a running engine whatever looks wrong is read again before it is reported.

With -profile it reads no page: it says what has changed on the host and below D since untornctl
certify wrote PROFILE. Each change is void (the certificate does not hold any more), unread (it cannot
be told: run it as root), look (for your judgement) or note.

With -format it reads the data files of another system, and changes nothing there either:
  postgres       PATH is a data directory (base, global and the tablespaces, every fork, as
                 pg_checksums does; data checksums have to be on) or one file of a relation
  innodb         PATH is a data directory of MySQL or MariaDB (ibdata*, undo*, *.ibd) or one file;
                 crc32 and full_crc32, 4 to 64 KiB, compressed and encrypted by MariaDB included;
                 pages that no checksum covers are counted as unchecked
If the server is running, that is said, and whatever looks wrong is read again, several times.

  -profile FILE  of untornctl certify; places of log and doublewrite file are those of the profile
  -format F      postgres or innodb; native = an engine directory (default)
  -page BYTES    page size, where the file does not tell it
` + whereHelp + `  -json FILE     the verdict for scripts, "-" for standard output

Exit: 0 sound, 1 something is damaged or needs repair (each is named), 2 usage, 3 it is not there,
cannot be read, or has no checksums. With -profile: 0 the certificate holds, 1 it does not, 3 it
cannot be told.

Examples
  untornctl verify /srv/data
  untornctl verify -profile /etc/untorn/profile.json /srv/data
  untornctl verify /srv/data -json - | jq '.findings[]'
  untornctl verify -format postgres /var/lib/postgresql/15/main
  untornctl verify -format innodb /var/lib/mysql
  untornctl verify -format innodb /backup/shop/orders.ibd
`}

func runVerify(ctx context.Context, k *call) error {
	var w where
	var profile string
	fs := k.flags()
	w.flags(fs)
	fs.StringVar(&profile, "profile", "", "")
	format := fs.String("format", "native", "")
	size := fs.Int("page", 0, "")
	args, err := k.parse(fs, "the directory")
	if err != nil {
		return err
	}
	if profile != "" {
		if w.wal != "" || w.dwb != "" {
			return usagef("-profile names the other places itself")
		}
		if *format != "native" {
			return usagef("-profile is of an engine directory, not of -format %s", *format)
		}
		return verifyProfile(ctx, k, profile, args[0])
	}
	if *format != "native" {
		if w != (where{}) {
			return usagef("-wal-dir and -dwb-dir are of an engine directory, not of -format %s", *format)
		}
		return verifyFormat(ctx, k, *format, args[0], *size)
	}
	if *size != 0 {
		return usagef("-page goes with -format postgres or innodb")
	}
	d, err := w.open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	line := progress{w: k.err, on: terminal(k.err)}
	v, err := d.Verify(ctx, line.bytes())
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
