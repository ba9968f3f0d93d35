//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
)

const enginePages = 48

var bg = context.Background()

// engineOptions put the engine on the file system at path, or beside the device.
func engineOptions(t spec.Target, path, name string) (untorn.Options, untorn.FileOptions) {
	o := untorn.Options{SegmentBytes: 1 << 20, BatchBytes: 256 << 10, Memory: 8 << 20, Depth: 16}
	f := untorn.FileOptions{Create: true, Pages: enginePages, Mode: untorn.ModeAtomic}
	if strings.HasSuffix(t.Name, "/") {
		o.Dir = filepath.Join(path, name)
	} else {
		// The rest of the engine lives in the guest's memory.
		o.Dir = filepath.Join("/", "engine-"+strings.ReplaceAll(t.Name, ":", "-")+"-"+name)
		f.Path, f.Device = path, true
	}
	return o, f
}

// engine runs the engine in mode atomic on one target.
func (b *bed) engine(t spec.Target, path string) {
	if t.Compare {
		if err := compareModes(path); err != nil {
			b.fail("modes on %s: %v", t.Name, err)
		}
	}
	if t.Engine > 0 {
		if err := b.engineRun(t, path); err != nil {
			b.fail("engine on %s: %v", t.Name, err)
		}
	}
	if t.Beyond > 0 {
		if err := b.engineBeyond(t, path); err != nil {
			b.fail("engine on %s, pages of %d: %v", t.Name, t.Beyond, err)
		}
	}
}

// engineRun: refused as hwprobe is strict, taken on the numbers alone; writes, reads; the limit
// shrinks under it; reads; opened again, reads.
func (b *bed) engineRun(t spec.Target, path string) error {
	o, fo := engineOptions(t, path, "atomic")
	fo.PageSize = t.Engine
	if err := blank(fo.Path); err != nil {
		return err
	}
	var na *untorn.NotAtomicError
	err := with(o, func(e *untorn.Engine) error {
		_, err := e.OpenFile(bg, "pages", fo)
		if !errors.As(err, &na) {
			return fmt.Errorf("mode atomic was not refused: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := blank(fo.Path); err != nil {
		return err
	}
	o.AtomicPolicy = hwprobe.Policy{TrustEmulated: true, TrustAWUPF: true}
	err = with(o, func(e *untorn.Engine) error {
		f, err := e.OpenFile(bg, "pages", fo)
		if err != nil {
			return err
		}
		if err := write(f, 1, 3); err != nil {
			return err
		}
		if err := state(e, untorn.ModeAtomic, false); err != nil {
			return err
		}
		fmt.Printf("    engine  %6d refused by rule %s; on the numbers alone atomic, %d pages x 3 written",
			t.Engine, na.Verdict.Rule, enginePages)
		if t.Change == "" {
			fmt.Println(", read back")
			return read(f, 3)
		}
		if err := b.shrink(t, path); err != nil {
			return err
		}
		if err := write(f, 4, 6); err != nil {
			return err
		}
		if err := state(e, untorn.ModeDoublewrite, true); err != nil {
			return err
		}
		in := e.Info().Files[0]
		fmt.Printf(";\n                   limit shrunk (%s): %d refused (%s), doublewrite since, read back\n",
			t.Change, in.Refused, in.Moved[strings.LastIndex(in.Moved, ": ")+2:])
		return read(f, 6)
	})
	if err != nil {
		return err
	}
	last := uint64(3)
	if t.Change != "" {
		last = 6
	}
	return with(o, func(e *untorn.Engine) error {
		f, err := e.OpenFile(bg, "pages", untorn.FileOptions{Mode: untorn.ModeAuto})
		if err != nil {
			return err
		}
		want := untorn.ModeAtomic
		if t.Change != "" {
			want = untorn.ModeDoublewrite
		}
		if f.Protection() != want {
			return fmt.Errorf("opened again in mode auto it is protected by %s", f.Protection())
		}
		return read(f, last)
	})
}

func (b *bed) shrink(t spec.Target, path string) error {
	if t.Change == "remount" {
		return unix.Mount("", path, "", unix.MS_REMOUNT, "max_atomic_write=4k")
	}
	return b.reload()
}

// engineBeyond: pages larger than the kernel takes, hwprobe overridden by name: the first write is
// refused, and nothing is lost.
func (b *bed) engineBeyond(t spec.Target, path string) error {
	o, fo := engineOptions(t, path, "beyond")
	fo.PageSize = t.Beyond
	var na *untorn.NotAtomicError
	for range 2 {
		if err := blank(fo.Path); err != nil {
			return err
		}
		err := with(o, func(e *untorn.Engine) error {
			f, err := e.OpenFile(bg, "pages", fo)
			if errors.As(err, &na) && fo.AtomicOverride == "" {
				fo.AtomicOverride = na.Verdict.Rule
				return nil
			}
			if err == nil {
				err = write(f, 1, 2)
			}
			if err == nil {
				err = state(e, untorn.ModeDoublewrite, true)
			}
			if err != nil {
				return err
			}
			in := e.Info().Files[0]
			fmt.Printf("    engine  %6d rule %s overridden: %d refused (%s), doublewrite since, read back\n",
				t.Beyond, na.Verdict.Rule, in.Refused, in.Moved[strings.LastIndex(in.Moved, ": ")+2:])
			return read(f, 2)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func with(o untorn.Options, f func(*untorn.Engine) error) error {
	e, err := untorn.Open(bg, o)
	if err != nil {
		return err
	}
	return errors.Join(f(e), e.Close(bg))
}

// state compares what Info says with what it must.
func state(e *untorn.Engine, want untorn.Mode, refused bool) error {
	in := e.Info().Files[0]
	if in.Protection != string(want) || (in.Refused > 0) != refused || !in.DirectIO {
		return fmt.Errorf("it is protected by %s after %d refusals, direct %v: %s", in.Protection, in.Refused, in.DirectIO, in.Moved)
	}
	return nil
}

// blank wipes the start of a device: the engine takes no other.
func blank(node string) error {
	if node == "" {
		return nil
	}
	d, err := os.OpenFile(node, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = d.Write(make([]byte, 1<<20))
	return errors.Join(err, d.Sync(), d.Close())
}

func fill(b []byte, no, version uint64) {
	x := (no+1)*0x9e3779b97f4a7c15 ^ version*0xbf58476d1ce4e5b9
	for i := untorn.PageHeader; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
}

// write writes every page in versions first to last, from four writers.
func write(f *untorn.File, first, last uint64) error {
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			for v := first; v <= last && errs[w] == nil; v++ {
				var ws []untorn.PageWrite
				for no := w; no < enginePages; no += 4 {
					p := make([]byte, f.PageSize())
					fill(p, no, v)
					ws = append(ws, untorn.PageWrite{No: untorn.PageNo(no), Data: p})
				}
				errs[w] = f.WritePages(bg, ws, untorn.Durable)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func read(f *untorn.File, version uint64) error {
	got, want := make([]byte, f.PageSize()), make([]byte, f.PageSize())
	for no := range uint64(enginePages) {
		if err := f.ReadPages(bg, []untorn.PageRead{{No: untorn.PageNo(no), Data: got}}); err != nil {
			return err
		}
		fill(want, no, version)
		if !bytes.Equal(got[untorn.PageHeader:], want[untorn.PageHeader:]) {
			return fmt.Errorf("page %d is not version %d", no, version)
		}
	}
	return nil
}

// compareModes writes 16 KiB pages at random in three modes, interleaved, each durable.
func compareModes(path string) error {
	const pages, batch, clients, rounds, each = 1024, 8, 4, 3, 250 * time.Millisecond
	o := untorn.Options{Dir: filepath.Join(path, "compare"), SegmentBytes: 1 << 20, Memory: 24 << 20, Unsafe: true,
		AtomicPolicy: hwprobe.Policy{TrustEmulated: true, TrustAWUPF: true}}
	modes := []untorn.Mode{untorn.ModeNone, untorn.ModeAtomic, untorn.ModeDoublewrite}
	rates := map[untorn.Mode][]float64{}
	err := with(o, func(e *untorn.Engine) error {
		files := map[untorn.Mode]*untorn.File{}
		for _, m := range modes {
			f, err := e.OpenFile(bg, string(m), untorn.FileOptions{Create: true, Pages: pages, Mode: m})
			if err != nil {
				return err
			}
			files[m] = f
		}
		for r := range rounds + 1 {
			for i := range modes {
				m := modes[(r+i)%len(modes)] // each in every place of the order
				n, took, err := load(files[m], pages, batch, clients, each)
				if err != nil {
					return err
				}
				if r == 0 { // warm-up
					continue
				}
				rates[m] = append(rates[m], float64(n)/took.Seconds())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	line := fmt.Sprintf("    modes    16384 %d clients x %d pages, durable, median of %d:", clients, batch, rounds)
	for _, m := range modes {
		slices.Sort(rates[m])
		line += fmt.Sprintf("  %s %.0f/s", m, rates[m][rounds/2])
	}
	fmt.Println(line)
	return nil
}

func load(f *untorn.File, pages, batch, clients int, d time.Duration) (int64, time.Duration, error) {
	var n atomic.Int64
	errs := make([]error, clients)
	begun := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			x := uint64(c+1) * 0x9e3779b97f4a7c15
			buf := make([]byte, f.PageSize())
			ws := make([]untorn.PageWrite, batch)
			for time.Since(begun) < d && errs[c] == nil {
				for i := range ws {
					x ^= x << 13
					x ^= x >> 7
					x ^= x << 17
					ws[i] = untorn.PageWrite{No: untorn.PageNo(x % uint64(pages)), Data: buf}
				}
				errs[c] = f.WritePages(bg, ws, untorn.Durable)
				n.Add(int64(batch))
			}
		})
	}
	wg.Wait()
	return n.Load(), time.Since(begun), errors.Join(errs...)
}
