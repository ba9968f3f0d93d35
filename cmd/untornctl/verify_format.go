package main

import (
	"context"

	"github.com/untorn/untorn/tablespace"
)

// verifyFormat checks the data files of another system.
func verifyFormat(ctx context.Context, k *call, format, path string, pageBytes int) error {
	var check func(context.Context, tablespace.Options) (*tablespace.Verdict, error)
	switch format {
	case "postgres":
		check = tablespace.Postgres
	case "innodb":
		check = tablespace.InnoDB
	default:
		return usagef("unknown format %q (native, postgres, innodb)", format)
	}
	line := progress{w: k.err, on: terminal(k.err)}
	v, err := check(ctx, tablespace.Options{Path: path, PageBytes: pageBytes, Progress: line.bytes()})
	line.clear()
	if err != nil {
		return err
	}
	if !k.quiet() {
		if err := v.Write(k.out); err != nil {
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
