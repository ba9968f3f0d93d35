package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/untorn/untorn/blocklog"
)

// errOrder is a log that is not in the order of its disk: whatever it shows proves nothing.
var errOrder = errors.New("the recorder's log is out of order and is not judged")

// read opens the log and holds it against what the disk took, sector by sector; what dm-log-writes logged
// too late is put in its place before. done closes it.
func (r *recording) read() (l *blocklog.Log, o order, done func() error, err error) {
	f, err := os.Open(r.log)
	if err != nil {
		return nil, o, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, o, nil, err
	}
	if l, err = blocklog.Read(f, st.Size()); err != nil {
		return nil, o, nil, err
	}
	took, err := readStrokes(r.order)
	if err != nil {
		return nil, o, nil, fmt.Errorf("what the disk took, to hold the log against: %w", err)
	}
	if o.AsLogged, err = l.Compare(took); err != nil {
		return nil, o, nil, err
	}
	o.Disorder = o.AsLogged
	if r.job.Recorder == "dm" {
		if o.Moved, err = l.Reorder(took); err != nil {
			return nil, o, nil, err
		}
		if o.Disorder, err = l.Compare(took); err != nil {
			return nil, o, nil, err
		}
	}
	if bad := o.Unfit(); bad != "" {
		return nil, o, nil, fmt.Errorf("%w: %s; record once more", errOrder, bad)
	}
	return l, o, f.Close, nil
}

// order is what is known of a log's.
type order struct {
	blocklog.Disorder                   // as it is judged
	AsLogged          blocklog.Disorder `json:"as_logged"`
	Moved             int               `json:"writes_put_in_place"`
}

func writeStrokes(name string, all []blocklog.Stroke) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var b [16]byte
	for _, s := range all {
		binary.LittleEndian.PutUint64(b[:], s.Sector)
		binary.LittleEndian.PutUint64(b[8:], s.Sum)
		if _, err := w.Write(b[:]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

func readStrokes(name string) ([]blocklog.Stroke, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []blocklog.Stroke
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		var b [16]byte
		switch _, err := io.ReadFull(r, b[:]); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, blocklog.Stroke{Sector: binary.LittleEndian.Uint64(b[:]), Sum: binary.LittleEndian.Uint64(b[8:])})
	}
}
