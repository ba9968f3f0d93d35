package walstage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/untorn/untorn/sim"
)

// TestFetch: a group that had been durable and is lost comes from a copy of its segment; what does not
// prove to be that very group is refused.
func TestFetch(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Sector: 4096})
	recs, claim := corruptLog(t, d, 17)
	// The archive: segments as they were.
	archive := map[string][]byte{}
	list, err := d.FS().ReadDir("/wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		b, err := d.ReadFile("/wal/" + x.Name)
		if err != nil {
			t.Fatal(err)
		}
		archive[x.Name] = b
	}
	o := simOptions(d, CommitDSync)
	var bad LostGroup
	o.Fetch = func(_ context.Context, lost LostGroup) ([]byte, error) {
		bad = lost
		return nil, errMedium
	}
	open := func() (*Dir, *Tail, error) {
		dir, err := OpenDir(bg, o, false)
		if err != nil {
			t.Fatal(err)
		}
		tail, err := dir.Scan(bg, Evidence{Known: []Claim{claim}})
		return dir, tail, err
	}
	dir, _, err := open()
	if !errors.Is(err, ErrCorrupt) || !errors.Is(err, errMedium) || bad.LSN == 0 {
		t.Errorf("a fetch that fails: %v, asked for %+v", err, bad)
	}
	dir.Close()
	archive[bad.Segment][bad.Offset+int64(recs[17].Start-bad.LSN)+100] ^= 0x10 // as it was
	good, err := GroupBytes(bytes.NewReader(archive[bad.Segment]), bad.Offset, 4096)
	if err != nil {
		t.Fatal(err)
	}
	before, err := GroupBytes(bytes.NewReader(archive[bad.Segment]), bad.Offset-int64(len(good)), 4096)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(at int) []byte { b := slices.Clone(good); b[at] ^= 1; return b }
	resealed := func(change func(h *groupHeader)) []byte {
		b := slices.Clone(good)
		h, err := decodeGroupHeader(b, 4096)
		if err != nil {
			t.Fatal(err)
		}
		change(&h)
		h.encode(b)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "half": good[:4096], "more": append(slices.Clone(good), make([]byte, 4096)...), "rot": damage(groupHeaderSize + 50),
		"a rotten header": damage(40), "another group": before,
		"another chain":  resealed(func(h *groupHeader) { h.prev++ }),
		"another place":  resealed(func(h *groupHeader) { h.off += 4096 }),
		"another LSN":    resealed(func(h *groupHeader) { h.lsn += 4096 }),
		"another engine": resealed(func(h *groupHeader) { h.id[3]++ }),
		"an older epoch": resealed(func(h *groupHeader) { h.epoch-- }),
	} {
		o.Fetch = func(context.Context, LostGroup) ([]byte, error) { return b, nil }
		dir, _, err := open()
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s was taken: %v", name, err)
		}
		dir.Close()
	}
	asked := 0
	o.Fetch = func(_ context.Context, lost LostGroup) ([]byte, error) {
		asked++
		return GroupBytes(bytes.NewReader(archive[lost.Segment]), lost.Offset, 4096)
	}
	d.Record()
	dir, tail, err := open()
	if err != nil || asked != 1 || tail.Fetched != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	compareStarts := func(r replayer) error {
		got := starts(t, r, 0)
		for i, x := range recs {
			if i >= len(got) || got[i] != x.Start {
				return fmt.Errorf("record %d is missing", i)
			}
		}
		return nil
	}
	if err := compareStarts(dir); err != nil { // before it is on the disk
		t.Error(err)
	}
	if err := dir.Repair(bg, tail); err != nil {
		t.Fatal(err)
	}
	d.Mark("repaired")
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	log := d.Log()
	for at, p := range log.Points(log.Cuts()) {
		repaired := false
		for range log.Marks(at) {
			repaired = true
		}
		for choice, disk := range p.States(sim.Explore{Exhaustive: 2, Items: 3, Samples: 3, Max: 6}) {
			so := simOptions(disk, CommitDSync)
			if !repaired {
				so.Fetch = o.Fetch
			}
			dir, err := OpenDir(bg, so, false)
			if err != nil {
				t.Fatal(err)
			}
			_, err = dir.Scan(bg, Evidence{Known: []Claim{claim}})
			if err == nil {
				err = compareStarts(dir)
			}
			if err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
			dir.Close()
		}
	}
}
