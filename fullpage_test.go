package untorn_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/stages"
)

// A workload in mode fullpage, every power cut in it, and the replay that the contract asks for.

const imagedPages = 6

// imagedMark is a write begun, or (done) acknowledged.
type imagedMark struct {
	no, version uint64
	done        bool
}

// redoRecord says which version of which page a record makes: a replay paints it.
func redoRecord(no, version uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, no), version)
}

// imagedWorkload writes single pages: most with a record, every fourth Unrecorded, the last page with LSN 0.
func imagedWorkload(t *testing.T, d *sim.Disk, o untorn.Options, mode untorn.Mode) {
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: imagedPages, PageSize: 8192, Mode: mode})
	rng := rand.New(rand.NewPCG(1, 1))
	var lsn [imagedPages]untorn.LSN
	d.Record()
	var pend []*untorn.Pending
	var marks []imagedMark
	await := func() {
		for i, p := range pend {
			if err := p.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			marks[i].done = true
			d.Mark(marks[i])
		}
		pend, marks = nil, nil
	}
	for v := uint64(1); v <= 40; v++ {
		no := uint64(rng.IntN(imagedPages))
		w := untorn.PageWrite{No: untorn.PageNo(no), Data: make([]byte, f.PageSize())}
		fill(w.Data, no, v)
		d.Mark(imagedMark{no, v, false}) // before the record, of which a replay makes the page
		switch {
		case no == imagedPages-1:
		case v%4 == 0 && lsn[no] != 0:
			w.LSN, w.Unrecorded = lsn[no], true
		default:
			_, end, err := e.Append(redoRecord(no, v))
			if err != nil {
				t.Fatal(err)
			}
			lsn[no], w.LSN = end, end
		}
		p, err := f.WritePagesAsync(ctx, []untorn.PageWrite{w}, []untorn.Level{untorn.Protected, untorn.Durable}[v%2])
		if err != nil {
			t.Fatal(err)
		}
		pend, marks = append(pend, p), append(marks, imagedMark{no, v, false})
		if v%3 == 0 {
			await()
		}
		if v%11 == 0 {
			if err := e.Checkpoint(ctx, e.EndLSN(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	await()
	d.PowerOff()
	_ = e.Close(ctx) // the machine is off
}

// replay does what a caller does after an open: records are applied to pages that do not have them.
func replay(t *testing.T, e *untorn.Engine, f *untorn.File) {
	b := make([]byte, f.PageSize())
	for r, err := range e.Replay(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		no, v := binary.LittleEndian.Uint64(r.Data), binary.LittleEndian.Uint64(r.Data[8:])
		read := []untorn.PageRead{{No: untorn.PageNo(no), Data: b}}
		if err := f.ReadPages(ctx, read); err != nil {
			t.Fatal(err)
		}
		if read[0].LSN >= r.End {
			continue
		}
		fill(b, no, v)
		if err := f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(no), LSN: r.End, Data: b}}, untorn.Durable); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullpageCrashes is the contract of mode fullpage at every power cut of a workload: once the
// caller has replayed, no page is older than was acknowledged, at Protected as at Durable, and none
// newer than was written. With one image too few some cut loses a page.
func TestFullpageCrashes(t *testing.T) {
	for _, c := range []struct {
		name   string
		mode   untorn.Mode
		mutant stages.Mutant
	}{{"fullpage", untorn.ModeFullpage, 0}, {"shadow", untorn.ModeShadow, 0}, {"image-skipped", untorn.ModeFullpage, stages.ImageSkipped}} {
		t.Run(c.name, func(t *testing.T) {
			d := sim.New(sim.Config{Seed: 7})
			o := onSim(d)
			o.Mutants = c.mutant
			imagedWorkload(t, d, o, c.mode)
			states, restored, bad := 0, 0, ""
			log := d.Log()
			step := 1
			if testing.Short() {
				step = 3
			}
			var at []int
			for i, p := range log.Cuts() {
				if i%step == 0 {
					at = append(at, p)
				}
			}
			for i, pt := range log.Points(at) {
				floor, ceil := imagedBounds(log, i)
				n := 0
				for choice, crashed := range pt.States(sim.Explore{Seed: 1, Exhaustive: 2, Samples: 4, Items: 4}) {
					if n++; n > 6 {
						break
					}
					e, err := untorn.Open(ctx, on(o, crashed))
					if err != nil {
						t.Fatalf("cut at %d, %v: %v", i, choice, err)
					}
					f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
					if err != nil {
						t.Fatal(err)
					}
					states++
					for _, p := range e.Report().Pages {
						if strings.HasPrefix(p.Source, "page image") {
							restored++
						}
					}
					if err := imagedJudge(t, e, f, floor, ceil); err != nil && bad == "" {
						bad = fmt.Sprintf("cut at %d, %v: %v", i, choice, err)
					}
					_ = e.Close(ctx)
				}
			}
			t.Logf("%d states, %d pages restored from images", states, restored)
			switch {
			case c.mutant == 0 && bad != "":
				t.Error(bad)
			case c.mutant != 0 && bad == "":
				t.Error("an image too few costs no page")
			case c.mode == untorn.ModeFullpage && restored == 0:
				t.Error("no image was ever restored")
			}
		})
	}
}

func imagedBounds(log *sim.Log, at int) (floor, ceil [imagedPages]uint64) {
	for i, v := range log.Marks(log.Len()) {
		m, ok := v.(imagedMark)
		if !ok || i >= at {
			continue
		}
		if m.done {
			floor[m.no] = max(floor[m.no], m.version)
		} else {
			ceil[m.no] = max(ceil[m.no], m.version)
		}
	}
	return floor, ceil
}

func imagedJudge(t *testing.T, e *untorn.Engine, f *untorn.File, floor, ceil [imagedPages]uint64) (err error) {
	for no := range uint64(imagedPages) {
		b := make([]byte, f.PageSize())
		if err := f.ReadPages(ctx, []untorn.PageRead{{No: untorn.PageNo(no), Data: b}}); err != nil {
			return err
		}
	}
	replay(t, e, f)
	for no := range uint64(imagedPages) {
		b := make([]byte, f.PageSize())
		if err := f.ReadPages(context.Background(), []untorn.PageRead{{No: untorn.PageNo(no), Data: b}}); err != nil {
			return err
		}
		v := uint64(0)
		if binary.LittleEndian.Uint64(b[untorn.PageHeader:]) != 0 {
			if v, err = version(b, no); err != nil {
				return err
			}
		}
		if v < floor[no] || v > ceil[no] {
			return fmt.Errorf("page %d has version %d, acknowledged %d, begun %d", no, v, floor[no], ceil[no])
		}
	}
	return nil
}
