package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// call is one command under way.
type call struct {
	out, err io.Writer
	args     []string
	json     string
}

// flags returns the flag set every command begins with.
func (k *call) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&k.json, "json", "", "")
	return fs
}

// parse takes flags before, between and after the arguments, of which there have to be exactly the
// named ones.
func (k *call) parse(fs *flag.FlagSet, names ...string) ([]string, error) {
	var got []string
	for rest := k.args; len(rest) > 0; {
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usagef("%v", err)
		}
		rest = fs.Args()
		if len(rest) > 0 {
			got, rest = append(got, rest[0]), rest[1:]
		}
	}
	switch {
	case len(got) < len(names):
		return nil, usagef("%s is missing", strings.Join(names[len(got):], " and "))
	case len(got) > len(names):
		return nil, usagef("%q is one argument too many", got[len(names)])
	}
	return got, nil
}

// quiet says that JSON takes the place of the table on standard output.
func (k *call) quiet() bool { return k.json == "-" }

// writeJSON writes v where -json says, if it says so.
func (k *call) writeJSON(v any) error {
	if k.json == "" {
		return nil
	}
	return k.toJSON(func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

func (k *call) toJSON(f func(io.Writer) error) error {
	if k.json == "-" {
		return f(k.out)
	}
	w, err := os.Create(k.json)
	if err != nil {
		return err
	}
	return errors.Join(f(w), w.Close())
}

// terminal reports whether w is one: progress lines are for people.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func (k *call) sayf(format string, a ...any) { fmt.Fprintf(k.out, format+"\n", a...) }
