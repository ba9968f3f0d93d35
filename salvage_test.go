package untorn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/walstage"
)

// contents of every file below a directory of a simulated disk.
func contents(t testing.TB, d *sim.Disk, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	list, err := d.FS().ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		name := path.Join(dir, x.Name)
		if b, err := d.ReadFile(name); err == nil {
			all[name] = b
			continue
		}
		for n, b := range contents(t, d, name) {
			all[n] = b
		}
	}
	return all
}

func same(a, b map[string][]byte) error {
	for n, x := range a {
		if y, ok := b[n]; !ok || !bytes.Equal(x, y) {
			return fmt.Errorf("%s has changed", n)
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("%d files instead of %d", len(b), len(a))
	}
	return nil
}

// checkSalvaged opens a copy as its owner would: refused as the source is, then recovered to a point;
// and what lies behind the damage can be read before that.
func checkSalvaged(d *sim.Disk, starts, ends []untorn.LSN, bad int) error {
	p, err := walstage.OpenPeek(ctx, walstage.Options{FS: d.FS(), Ring: d.Ring(), Dir: "/saved/wal"})
	if err != nil {
		return err
	}
	n := 0
	for _, from := range []untorn.LSN{0, ends[bad]} {
		_, _, err := p.Walk(ctx, from, func(g *walstage.GroupHead) bool {
			_ = g.Each(func(r walstage.Record) bool {
				if r.Kind == 0 && r.Start >= from {
					n++
				}
				return true
			})
			return true
		})
		if err != nil {
			return err
		}
	}
	if err := p.Close(); err != nil || n < bad {
		return fmt.Errorf("%d records of %d in the copy, %w", n, len(starts)-1, err)
	}
	o := onSim(d)
	o.Dir = "/saved"
	_, err = untorn.Open(ctx, o)
	var c *walstage.CorruptError
	if !errors.As(err, &c) || c.Good != ends[bad-1] {
		return fmt.Errorf("the copy opens as %w", err)
	}
	o.RecoverTo = c.Good
	e, err := untorn.Open(ctx, o)
	if err != nil {
		return err
	}
	var got []untorn.LSN
	for r, err := range e.Replay(ctx) {
		if err != nil {
			return err
		}
		got = append(got, r.Start)
	}
	if fmt.Sprint(got) != fmt.Sprint(starts[:bad]) {
		return fmt.Errorf("replayed %v", got)
	}
	f, err := e.OpenFile(ctx, "t", untorn.FileOptions{})
	if err == nil {
		err = f.ReadPages(ctx, []untorn.PageRead{{No: 3, Data: make([]byte, 4096)}})
	}
	return errors.Join(err, e.Close(ctx))
}

// TestSalvage copies a corrupt directory. Wherever the power goes, the source is as it was, and the
// copy is whole or does not open.
func TestSalvage(t *testing.T) {
	d := sim.New(sim.Config{Seed: 2})
	starts, ends := rotten(t, d, 20)
	before := contents(t, d, "/db")
	o := onSim(d)
	d.Record()
	r, err := untorn.Salvage(ctx, o, "/saved")
	if err != nil {
		t.Fatal(err)
	}
	d.Mark("done")
	log := d.Log()
	if r.RecoverTo != ends[19] || r.Records != 40 || len(r.Runs) != 2 || r.Files != 1 || len(r.Unread) != 0 || r.Verdict == "" {
		t.Errorf("%+v", r) // 39 records and the one that made the data file
	}
	if err := same(before, contents(t, d, "/db")); err != nil {
		t.Error(err)
	}
	if _, err := untorn.Salvage(ctx, o, "/saved"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a directory that is there: %v", err)
	}
	if _, err := untorn.Salvage(ctx, o, "/db"); !errors.Is(err, untorn.ErrOptions) {
		t.Errorf("into the source: %v", err)
	}
	if err := checkSalvaged(d, starts, ends, 20); err != nil {
		t.Error(err)
	}
	states, whole, most := 0, 0, 4
	if testing.Short() {
		most = 2
	}
	for at, p := range log.Points(log.Cuts()) {
		done := false
		for range log.Marks(at) {
			done = true
		}
		for choice, disk := range p.States(sim.Explore{Exhaustive: 1, Items: 2, Samples: 2, Max: most}) {
			states++
			if err := same(before, contents(t, disk, "/db")); err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
			so := onSim(disk)
			so.Dir = "/saved"
			so.MustExist = true
			e, err := untorn.Open(ctx, so)
			if err == nil {
				_ = e.Close(ctx)
				t.Fatalf("cut at %d, %s: a copy of a corrupt directory opens", at, p.Describe(choice))
			}
			if errors.Is(err, untorn.ErrCorrupt) {
				whole++
				err = checkSalvaged(disk, starts, ends, 20)
			} else if err != nil && !done {
				err = nil // unfinished
			}
			if err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
		}
	}
	t.Log(states, "states,", whole, "with a whole copy")
	if whole == 0 {
		t.Error("no state had a whole copy")
	}
}

// TestSalvageWithoutSegmentHeader: a damaged segment header and blocks that cannot be read take nothing
// with them but themselves.
func TestSalvageWithoutSegmentHeader(t *testing.T) {
	d := sim.New(sim.Config{Seed: 2})
	o := onSim(d)
	o.SegmentBytes = 64 << 10
	e := openSim(t, o)
	f, err := e.OpenFile(ctx, "t", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 4})
	if err != nil {
		t.Fatal(err)
	}
	durable(t, e, 40, 3000)
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	closed(t, e)
	if err := d.Corrupt("/db/wal/0000000000000002.wal", 9, 1); err != nil {
		t.Fatal(err)
	}
	if err := d.FailReads("/db/data/00000001.pages", 64<<10+4096, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := untorn.Open(ctx, onSim(d)); err == nil {
		t.Fatal("it opens")
	}
	r, err := untorn.Salvage(ctx, onSim(d), "/saved")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.SegmentHeaders) != 1 || r.Records != 41 || len(r.Runs) != 1 || len(r.Unread) == 0 {
		t.Errorf("%+v", r)
	}
	so := onSim(d)
	so.Dir = "/saved"
	e = openSim(t, so) // the log is whole again
	if got := replayed(t, e); len(got) != 40 {
		t.Errorf("%d records", len(got))
	}
	closed(t, e)
	stop, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := untorn.Salvage(stop, onSim(d), "/again"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
