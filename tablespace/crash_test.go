package tablespace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
	"github.com/untorn/untorn/walstage"
)

// images are the pages of one file in several versions: images[version][page].
type images struct {
	format page.Format
	bytes  int
	all    [][][]byte
}

// cutImages makes versions of the first n pages from whole files.
func cutImages(format page.Format, bytes, n int, files ...[]byte) images {
	x := images{format: format, bytes: bytes}
	for _, f := range files {
		x.all = append(x.all, slices.Collect(slices.Chunk(f[:n*bytes], bytes)))
	}
	return x
}

// madeImages are pages of our own making.
func madeImages(format page.Format, bytes, n, versions int) images {
	x := images{format: format, bytes: bytes}
	for v := range versions {
		rng := rand.NewChaCha8([32]byte{byte(v), 1})
		var pages [][]byte
		for no := range n {
			b := make([]byte, bytes)
			_, _ = rng.Read(b[64:])
			if no%7 == 6 && v == 0 {
				clear(b) // not in use yet
			} else {
				format.Seal(b, page.Seed{No: page.No(no)}, page.LSN(1000*v+no+1))
			}
			pages = append(pages, b)
		}
		x.all = append(x.all, pages)
	}
	return x
}

// crashed sums up what the states of power cuts looked like.
type crashed struct {
	points, states int
	torn           int // destination pages that were neither version when the power was gone
	refused        int // pages that read as damaged after the reopen
	mixed          int // and those that read as whole and were no version
	older          int // than had been acknowledged
}

const crashFile = "/db/data/00000001.pages"

func onSim(d *sim.Disk) untorn.Options {
	return untorn.Options{
		Dir: "/db", SegmentBytes: 256 << 10, BatchBytes: 128 << 10, Memory: 4 << 20, LockWait: -1,
		Commit: walstage.CommitFlush, FS: d.FS(),
		NewRing: func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil },
	}
}

// powerCuts writes every version of every page through an engine on a simulated disk, cuts the power
// in many places, opens what each cut may leave and looks at every page.
func powerCuts(t *testing.T, x images, mode untorn.Mode, budget int) (c crashed) {
	t.Helper()
	ctx := context.Background()
	n := len(x.all[0])
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := sim.New(sim.Config{Seed: 1})
	e, err := untorn.Open(ctx, onSim(d))
	must(err)
	f, err := e.OpenFile(ctx, "relation", untorn.FileOptions{Create: true, Format: x.format.Name(), ForeignLSN: true,
		PageSize: x.bytes, Pages: uint64(n), Mode: mode})
	must(err)
	write := func(version, from, to int, level untorn.Level) {
		t.Helper()
		var ws []untorn.PageWrite
		for no := from; no < to; no++ {
			ws = append(ws, untorn.PageWrite{No: page.No(no), Data: x.all[version][no]})
		}
		must(f.WritePages(ctx, ws, level))
	}
	write(0, 0, n, untorn.Durable)
	d.Record()
	acked := make([]int, n)
	d.Mark(slices.Clone(acked))
	for v := 1; v < len(x.all); v++ {
		for from := 0; from < n; from += 6 {
			to := min(from+6, n)
			level := untorn.Durable
			if from/6%3 == 1 {
				level = untorn.Protected
			}
			write(v, from, to, level)
			for no := from; no < to; no++ {
				acked[no] = v
			}
			d.Mark(slices.Clone(acked))
		}
	}
	log := d.Log()
	d.PowerOff()
	_ = e.Close(ctx) // on a machine that is off

	at := log.Cuts()
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
	per := max(4, budget/len(at))
	for _, i := range at {
		if c.states >= budget && c.torn > 0 { // the order of events varies: go on until it tore
			break
		}
		acked = make([]int, n)
		for _, m := range log.Marks(i) {
			acked = m.([]int)
		}
		c.points++
		point := log.Replay(i)
		k := 0
		for choice, disk := range point.States(sim.Explore{Seed: 1, Exhaustive: 2, Samples: 12, Items: 8}) {
			if k++; k > per {
				break
			}
			c.states++
			c.look(t, x, disk, acked, fmt.Sprintf("point %d, %s", i, choice))
		}
	}
	return c
}

// look opens one state and holds every page against the versions.
func (c *crashed) look(t *testing.T, x images, d *sim.Disk, acked []int, state string) {
	t.Helper()
	ctx := context.Background()
	version := func(no int, img []byte) int {
		for v := len(x.all) - 1; v >= 0; v-- {
			if bytes.Equal(img, x.all[v][no]) {
				return v
			}
		}
		return -1
	}
	raw, err := d.ReadFile(crashFile)
	if err != nil {
		t.Fatal(err)
	}
	for no := range acked {
		at := int(super.DataStart(4096)) + no*x.bytes
		if version(no, raw[at:at+x.bytes]) < 0 {
			c.torn++
		}
	}
	e, err := untorn.Open(ctx, onSim(d))
	if err != nil {
		t.Errorf("%s: %v", state, err)
		return
	}
	defer func() {
		d.PowerOff()
		_ = e.Close(ctx) // on a machine that is off
	}()
	f, err := e.OpenFile(ctx, "relation", untorn.FileOptions{})
	if err != nil {
		t.Errorf("%s: %v", state, err)
		return
	}
	rs := make([]untorn.PageRead, len(acked))
	for i := range rs {
		rs[i] = untorn.PageRead{No: page.No(i), Data: make([]byte, x.bytes)}
	}
	_ = f.ReadPages(ctx, rs) // every page has its own error
	for no := range rs {
		if rs[no].Err != nil {
			if !errors.Is(rs[no].Err, untorn.ErrPageDamaged) {
				t.Errorf("%s: %v", state, rs[no].Err)
			}
			c.refused++
			continue
		}
		v := version(no, rs[no].Data)
		switch {
		case v < 0:
			c.mixed++
		case v < acked[no]:
			c.older++
		}
		if _, err := x.format.Check(rs[no].Data, page.Seed{No: page.No(no)}); err != nil {
			t.Errorf("%s: page %d was handed out: %v", state, no, err)
		}
	}
}

// comeBackWhole is the claim: torn or not when the power went, every page is a version that was
// written, and none is older than acknowledged. Without the doublewrite buffer the same workload
// shows that the cuts tear pages.
func comeBackWhole(t *testing.T, x images, budget int) {
	t.Helper()
	for _, mode := range []untorn.Mode{untorn.ModeDoublewrite, untorn.ModeFullpage, untorn.ModeShadow} {
		protected(t, x, mode, budget)
	}
	c := powerCuts(t, x, untorn.ModeDetect, budget/4)
	t.Logf("%s: detect: %d states at %d points, %d pages torn when the power went; read: %d damaged, %d mixed, %d older than acknowledged",
		x.format.Name(), c.states, c.points, c.torn, c.refused, c.mixed, c.older)
	if c.torn == 0 || c.refused == 0 {
		t.Errorf("without protection nothing was torn: %+v", c)
	}
	// PostgreSQL's checksum has 16 bits: one tear in 65535 may pass.
	if c.mixed > 1 {
		t.Errorf("torn pages read as whole: %+v", c)
	}
}

func protected(t *testing.T, x images, mode untorn.Mode, budget int) {
	t.Helper()
	c := powerCuts(t, x, mode, budget)
	t.Logf("%s: %s: %d states at %d points, %d pages torn when the power went; read after recovery: %d damaged, %d mixed, %d older than acknowledged",
		x.format.Name(), mode, c.states, c.points, c.torn, c.refused, c.mixed, c.older)
	if c.states < budget/4 || c.torn == 0 {
		t.Errorf("too little was tried: %+v", c)
	}
	if c.refused+c.mixed+c.older > 0 {
		t.Errorf("%s: pages did not come back: %+v", mode, c)
	}
}

// TestPowerCuts: pages of our own making in every format, for where no server is installed.
func TestPowerCuts(t *testing.T) {
	comeBackWhole(t, madeImages(page.Postgres{}, 8192, 18, 2), 32)
	for _, f := range []page.Format{page.InnoDBFullCRC32, page.InnoDBCRC32} {
		protected(t, madeImages(f, 8192, 18, 2), untorn.ModeDoublewrite, 24)
	}
}
