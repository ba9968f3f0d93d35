package untorn_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
)

// The switch: files in mode atomic whose writes are refused in the middle of a load, beside files
// that take no part in it.

// at is one page of one file, version the one its image carries: each page has one writer, which
// counts up.
type at struct {
	file string // "table", "sound", ...
	no   uint64
}

// switchAck says that a call returned: version of the page, or a newer one, is there.
type switchAck struct {
	at
	version uint64
	level   untorn.Level
}

// switchTrace holds the order of device operations of such a run against I1, I4, I6 and I9.
type switchTrace struct {
	shape    dwbstage.Geometry
	id       dwbstage.EngineID
	names    map[string]string // path in data/ -> file
	ids      map[uint32]string
	mode     map[string]untorn.Mode
	batches  map[uint64]*switchBatch
	writes   map[at][]*switchWrite
	doubled  map[string]bool // files a batch has named
	plain    int             // destination writes that were not atomic
	atomics  int
	pageSize int
	follower
}

type switchBatch struct {
	pages   map[at]uint64
	open    bool // being written
	reaped  int
	flushed bool
}

type switchWrite struct {
	version uint64
	atomic  bool
	done    int
	flushed bool
}

func versionIn(image []byte) uint64 { return binary.LittleEndian.Uint64(image[untorn.PageHeader:]) }

func (t *switchTrace) doublewrite(e sim.Entry) {
	i := int((e.Off - int64(t.shape.Block)) / t.shape.RegionBytes())
	data := e.Data()
	h, err := dwbstage.Decode(data[:t.shape.Block], t.shape, t.id, i)
	if err != nil {
		t.fail("doublewrite at %d: %v", e.Index, err)
		return
	}
	b := t.batches[h.Seq.Num]
	if b == nil {
		b = &switchBatch{pages: map[at]uint64{}}
		t.batches[h.Seq.Num] = b
	}
	b.open = true
	t.ops[e.Op] = func(at int) { b.open, b.reaped, b.flushed = false, at, e.DSync() }
	off := t.shape.SlotsOffset()
	for _, s := range h.Slots {
		p := at{t.ids[uint32(s.Page.File)], uint64(s.Page.No)}
		v := versionIn(data[off:])
		off += int(s.Len)
		b.pages[p] = v
		t.doubled[p.file] = true
		for _, o := range t.batches {
			if o.pages[p] > v {
				t.fail("I9: batch %d holds version %d of %v, an earlier one holds %d", h.Seq.Num, v, p, o.pages[p])
			}
		}
		for _, w := range t.writes[p] {
			if w.version > v {
				t.fail("I9: batch %d holds version %d of %v, %d was written before", h.Seq.Num, v, p, w.version)
			}
			if w.atomic && w.done == 0 {
				t.fail("I6: batch %d holds %v while an atomic write of it is on its way", h.Seq.Num, p)
			}
		}
	}
}

func (t *switchTrace) destination(e sim.Entry) {
	start := super.DataStart(4096)
	file := t.names[path.Base(e.File)]
	if e.Off < start || e.Len != t.pageSize || file == "" {
		return
	}
	p := at{file, uint64(e.Off-start) / uint64(t.pageSize)}
	x := &switchWrite{version: versionIn(e.Data()), atomic: e.Atomic()}
	for _, o := range t.writes[p] {
		if o.done == 0 {
			t.fail("I9: two destination writes of %v in flight at %d", p, e.Index)
		}
		if o.version > x.version {
			t.fail("I9: version %d of %v written at %d, after %d", x.version, p, e.Index, o.version)
		}
	}
	mode := t.mode[file]
	covered := false
	for _, b := range t.batches {
		covered = covered || b.flushed && b.pages[p] == x.version
	}
	switch {
	case x.atomic && (mode != untorn.ModeAtomic || t.doubled[file]):
		t.fail("I6: atomic write of %v at %d, which has gone through the doublewrite buffer", p, e.Index)
	case x.atomic:
		t.atomics++
	case mode == untorn.ModeDetect:
	case !covered:
		t.fail("I1: destination write of %v at %d, no flushed batch holds version %d", p, e.Index, x.version)
	case mode == untorn.ModeAtomic:
		t.plain++
	}
	t.writes[p] = append(t.writes[p], x)
	t.ops[e.Op] = func(at int) { x.done = at }
}

func (t *switchTrace) flush(f traceFlush) {
	if strings.Contains(f.file, "/dwb/") {
		for _, b := range t.batches {
			if !b.open && b.reaped < f.at {
				b.flushed = true
			}
		}
		return
	}
	for p, ws := range t.writes {
		for _, x := range ws {
			if t.names[path.Base(f.file)] == p.file && x.done != 0 && x.done < f.at {
				x.flushed = true
			}
		}
	}
}

func (t *switchTrace) ack(mark any) {
	a := mark.(switchAck)
	ok := false
	for _, x := range t.writes[a.at] {
		ok = ok || x.flushed && x.version >= a.version
	}
	for _, b := range t.batches {
		ok = ok || a.level == untorn.Protected && b.flushed && b.pages[a.at] >= a.version
	}
	if !ok {
		t.fail("I4: version %d of %v was acknowledged as %s, and is not", a.version, a.at, a.level)
	}
}

// switchLoad is a load on four files; it returns what became of it.
type switchLoad struct {
	seed    uint64
	late    bool // refusals come after a while
	errno   syscall.Errno
	after   int // atomic writes of "table" that are taken before the first is refused
	shrink  bool
	rounds  int
	poison  bool // a flush fails at about the same time
	noSync  bool // close with everything in flight
	crashed func(*sim.Log, untorn.Options)
}

const switchPages = 6 // of each writer, in each file: the same pages over and over

var switchModes = map[string]untorn.Mode{
	"table": untorn.ModeAtomic, "sound": untorn.ModeAtomic, "twice": untorn.ModeDoublewrite, "plain": untorn.ModeDetect,
}

func (l switchLoad) run(t *testing.T) error {
	d, o := onAtomic(l.seed)
	if l.seed%2 == 0 {
		o.DWBSync = untorn.DWBFlush
	}
	o.Depth = 4 + int(l.seed%7)
	var mu sync.Mutex
	taken, table := 0, ""
	o.NewRing = func(string, ring.Config) (ring.Ring, error) {
		return &refuser{Ring: d.Ring(), late: l.late, refuse: func(op *ring.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if path.Base(op.File.Name()) != table {
				return nil
			}
			if taken++; taken > l.after && (taken%3 != 0 || l.shrink) {
				return l.errno // a third is still taken while the first refusal is on its way
			}
			return nil
		}}, nil
	}
	e := open(t, o)
	tr := &switchTrace{
		shape: dwbstage.Geometry{Block: 4096, Batch: o.BatchBytes, Regions: o.Batches + o.Unflushed}, pageSize: 4096,
		names: map[string]string{}, ids: map[uint32]string{}, mode: switchModes, batches: map[uint64]*switchBatch{},
		writes: map[at][]*switchWrite{}, follower: newFollower(), doubled: map[string]bool{},
	}
	id := e.Info().EngineID
	for i := range tr.id {
		_, _ = fmt.Sscanf(id[2*i:2*i+2], "%02x", &tr.id[i])
	}
	files := map[string]*untorn.File{}
	for name, mode := range switchModes {
		files[name] = create(t, e, name, untorn.FileOptions{Pages: 4 * switchPages, PageSize: 4096, Mode: mode})
		in := fileInfo(t, e, name)
		list, _ := d.FS().ReadDir("/db/data")
		tr.names[list[len(list)-1].Name], tr.ids[in.ID] = name, name
		if name == "table" {
			table = list[len(list)-1].Name
		}
	}
	d.Record()
	if l.poison {
		n, atomic := 0, false
		d.Inject(func(op *ring.Op) sim.Fault {
			mu.Lock()
			defer mu.Unlock()
			atomic = atomic || op.Flags&ring.Atomic != 0
			if atomic && op.Kind == ring.DataSync && !strings.Contains(op.File.Name(), "/wal/") {
				if n++; n > 6 {
					return sim.Fault{Err: syscall.EIO}
				}
			}
			return sim.Fault{}
		})
	}
	var last sync.Map // at -> version
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() { l.writer(t, d, e, files, w, &last) })
	}
	wg.Wait()
	if l.poison {
		if e.Err() == nil {
			return errors.New("nothing was poisoned")
		}
		_ = e.Close(ctx) // it must not hang
	} else if l.noSync {
		mustClose(t, e)
	} else {
		last.Range(func(k, v any) bool {
			if got := readVersion(t, files[k.(at).file], k.(at).no); got != v.(uint64) {
				tr.fail("%v reads as version %d, the last accepted is %d", k, got, v)
			}
			return true
		})
		for _, f := range files {
			if err := f.Sync(ctx); err != nil {
				return err
			}
		}
		if in := fileInfo(t, e, "table"); in.Refused == 0 || in.Protection != "doublewrite" {
			return fmt.Errorf("nothing was refused: %+v", in)
		}
		if in := fileInfo(t, e, "sound"); in.Refused != 0 || in.Protection != "atomic" {
			return fmt.Errorf("the wrong file was refused: %+v", in)
		}
		mustClose(t, e)
	}
	for _, p := range d.Problems() {
		tr.fail("the disk saw: %v", p)
	}
	log := d.Log()
	if l.crashed != nil {
		l.crashed(log, o)
	}
	if err := tr.follow(log, tr); err != nil {
		return err
	}
	if tr.atomics == 0 || !l.poison && !l.noSync && tr.plain == 0 {
		return fmt.Errorf("the load did nothing: %d atomic, %d plain", tr.atomics, tr.plain)
	}
	// And again, on a drive that takes everything.
	o.NewRing = func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil }
	d.ClearFaults()
	if l.poison {
		return recovered(d, o, log, log.Len())
	}
	e = open(t, o)
	var err error
	for name := range files {
		if files[name], err = e.OpenFile(ctx, name, untorn.FileOptions{}); err != nil {
			return err
		}
	}
	last.Range(func(k, v any) bool {
		if got := readVersion(t, files[k.(at).file], k.(at).no); got != v.(uint64) {
			err = fmt.Errorf("after a reopen %v reads as version %d, the last accepted is %d", k, got, v)
		}
		return true
	})
	mustClose(t, e)
	return err
}

// writer writes its pages of each file, several calls at a time, and reads them while they are on
// their way: a read sees the newest accepted image (I9).
func (l switchLoad) writer(t *testing.T, d *sim.Disk, e *untorn.Engine, files map[string]*untorn.File, w uint64, last *sync.Map) {
	type call struct {
		p    *untorn.Pending
		acks []switchAck
	}
	r := rand.New(rand.NewPCG(l.seed, w))
	var calls []call
	finish := func() bool {
		c := calls[0]
		calls = calls[1:]
		if err := c.p.Wait(ctx); err != nil {
			if !l.poison {
				t.Error(err)
			}
			return false
		}
		for _, a := range c.acks {
			d.Mark(a)
		}
		return true
	}
	names := []string{"table", "table", "sound", "twice", "plain"}
	version := map[at]uint64{}
	for range l.rounds {
		name := names[r.IntN(len(names))]
		_, lsn, err := e.Append([]byte("record"))
		level := []untorn.Level{untorn.Durable, untorn.Protected, untorn.Accepted}[r.IntN(3)]
		var ws []untorn.PageWrite
		var c call
		for range 1 + r.IntN(8) {
			p := at{name, w*switchPages + r.Uint64N(switchPages)}
			version[p]++
			b := make([]byte, 4096)
			fill(b, p.no, version[p])
			ws = append(ws, untorn.PageWrite{No: untorn.PageNo(p.no), LSN: lsn, Data: b})
			if level != untorn.Accepted {
				c.acks = append(c.acks, switchAck{p, version[p], level})
			}
			last.Store(p, version[p])
		}
		if err == nil {
			c.p, err = files[name].WritePagesAsync(ctx, ws, level)
		}
		if err != nil {
			if !l.poison {
				t.Error(err)
			}
			return
		}
		calls = append(calls, c)
		for range 2 {
			p := at{names[r.IntN(len(names))], w*switchPages + r.Uint64N(switchPages)}
			b := make([]byte, 4096)
			if err := files[p.file].ReadPages(ctx, []untorn.PageRead{{No: untorn.PageNo(p.no), Data: b}}); err != nil {
				if !l.poison {
					t.Error(err)
				}
				return
			}
			if v := versionIn(b); v != version[p] {
				t.Errorf("%v reads as version %d, the last accepted is %d", p, v, version[p])
			}
		}
		for len(calls) > 6 {
			if !finish() {
				return
			}
		}
	}
	for len(calls) > 0 && !l.noSync {
		if !finish() {
			return
		}
	}
}

// TestSwitch: refused at the first write or in the middle, at once or late, one write or all that
// are in flight: I1, I4, I6 and I9 hold, and reads see the newest image throughout.
func TestSwitch(t *testing.T) {
	seeds := uint64(24)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		l := switchLoad{seed: seed, late: seed%2 == 1, errno: syscall.EINVAL, after: []int{0, 3, 20, 50}[seed%4], rounds: 60}
		if seed%3 == 0 {
			l.errno = syscall.EOPNOTSUPP
		}
		l.shrink = seed%5 < 3
		if err := l.run(t); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestSwitchDuringClose: nothing is lost when the refusals come while the engine closes.
func TestSwitchDuringClose(t *testing.T) {
	for seed := range uint64(8) {
		l := switchLoad{seed: seed, late: true, errno: syscall.EINVAL, after: int(seed), rounds: 4, noSync: true, shrink: seed%2 == 0}
		if err := l.run(t); err != nil && !strings.Contains(err.Error(), "did nothing") {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestSwitchAndPoison: a flush that fails while files move leaves nobody waiting, and nothing
// acknowledged is lost.
func TestSwitchAndPoison(t *testing.T) {
	for seed := range uint64(8) {
		l := switchLoad{seed: seed, late: seed%2 == 0, errno: syscall.EINVAL, after: int(3 * seed), rounds: 200, poison: true, shrink: true}
		if err := l.run(t); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestSwitchCrash: the power goes before, during and after the switch, and the next open finds
// every page whole, and what was acknowledged or newer.
func TestSwitchCrash(t *testing.T) {
	seeds, cuts, states := uint64(6), 12, 4
	if testing.Short() {
		seeds, cuts = 2, 8
	}
	made := 0
	for seed := range seeds {
		l := switchLoad{seed: seed, late: seed%2 == 0, errno: syscall.EINVAL, after: int(4 * seed), rounds: 8, shrink: true}
		l.crashed = func(log *sim.Log, o untorn.Options) {
			all := log.Cuts()
			var at []int
			for i := range min(cuts, len(all)) {
				at = append(at, all[i*len(all)/min(cuts, len(all))])
			}
			for i, point := range log.Points(at) {
				for c, crashed := range point.States(sim.Explore{Seed: seed, Max: states, Exhaustive: -1, Items: 2}) {
					made++
					if err := recovered(crashed, o, log, i); err != nil {
						t.Errorf("seed %d, cut at %d, %v: %v", seed, i, c, err)
					}
				}
			}
		}
		if err := l.run(t); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d crash states", made)
}

func recovered(d *sim.Disk, o untorn.Options, log *sim.Log, cut int) error {
	o.FS = d.FS()
	o.NewRing = func(string, ring.Config) (ring.Ring, error) { return d.Ring(), nil }
	e, err := untorn.Open(ctx, o)
	if err != nil {
		return err
	}
	defer e.Close(ctx)
	acked := map[at]uint64{}
	for _, m := range log.Marks(cut) {
		a := m.(switchAck)
		acked[a.at] = max(acked[a.at], a.version)
	}
	for name, mode := range switchModes {
		if mode == untorn.ModeDetect { // promises nothing while a write is on its way
			continue
		}
		f, err := e.OpenFile(ctx, name, untorn.FileOptions{})
		if err != nil {
			return err
		}
		for no := range f.Pages() {
			b := make([]byte, 4096)
			if err := f.ReadPages(ctx, []untorn.PageRead{{No: untorn.PageNo(no), Data: b}}); err != nil {
				return err
			}
			v := versionIn(b)
			if v != 0 {
				if _, err := version(b, no); err != nil {
					return err
				}
			}
			if v < acked[at{name, no}] {
				return fmt.Errorf("page %d of %s is at version %d, %d was acknowledged", no, name, v, acked[at{name, no}])
			}
		}
	}
	return nil
}
