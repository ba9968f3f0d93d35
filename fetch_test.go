package untorn_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// lostPages is a disk after a power cut and rot: pages 0 and 1 of a table were flushed to the doublewrite
// buffer as version 2, and neither slot nor destination is whole any more.
type lostPages struct {
	disk          *sim.Disk
	data          string
	start         int64
	size          int
	slot          map[page.No][]byte // as they were: version 2
	older         []byte             // page 0 in version 1
	before, later untorn.LSN         // of version 2; of a record behind it
}

func losePages(t *testing.T) *lostPages {
	d := sim.New(sim.Config{Seed: 7})
	o := onSim(d)
	o.IdleFlush = time.Hour
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
	writeVersion(t, e, f, upTo(8), 1, untorn.Durable)
	l := &lostPages{data: dirFiles(t, d, "/db/data")[0], size: 4096, slot: map[page.No][]byte{}}
	l.older = make([]byte, l.size)
	// Not in place before the cut: dwbstage asks for a flush where the batch before has not come back yet.
	d.Inject(func(op *ring.Op) sim.Fault {
		return sim.Fault{Hold: op.Kind == ring.DataSync && strings.HasPrefix(op.File.Name(), "/db/data/")}
	})
	writeVersion(t, e, f, upTo(2), 2, untorn.Protected)
	_, lsn, err := e.AppendSync(ctx, []byte("later"))
	if err != nil {
		t.Fatal(err)
	}
	l.later = lsn
	writeVersion(t, e, f, []uint64{5}, 2, untorn.Protected) // its header says that the batch before is flushed
	l.disk = d.Crash()
	d.ClearFaults()
	d.Release(nil)
	g := dwbstage.Geometry{Block: 4096, Batch: o.BatchBytes, Regions: 6}
	dwb, err := l.disk.ReadFile("/db/dwb/regions")
	if err != nil {
		t.Fatal(err)
	}
	id, g, err := dwbstage.PeekFileHeader(dwb[:4096])
	if err != nil {
		t.Fatal(err)
	}
	data, err := l.disk.ReadFile(l.data)
	if err != nil {
		t.Fatal(err)
	}
	l.start = int64(len(data) - 8*l.size)
	for i := range g.Regions {
		at := g.RegionOffset(i)
		h, err := dwbstage.Decode(dwb[at:at+4096], g, id, i)
		if err != nil {
			continue
		}
		for k, s := range h.Slots {
			b := dwb[at+int64(h.SlotOffset(g, k)):][:s.Len]
			switch {
			case len(h.Slots) == 2:
				l.slot[s.Page.No], l.before = slices.Clone(b), untorn.LSN(s.LSN)
				b[1000] ^= 1
			case len(h.Slots) == 8 && s.Page.No == 0:
				copy(l.older, b)
			}
		}
	}
	for no := range 2 {
		data[l.start+int64(no*l.size)+3000] ^= 1
	}
	if err := errors.Join(l.disk.WriteFile("/db/dwb/regions", dwb), l.disk.WriteFile(l.data, data)); err != nil {
		t.Fatal(err)
	}
	if len(l.slot) != 2 || page.Zeros(l.older) || l.later <= l.before {
		t.Fatalf("the test's disk is not what it should be: %d slots, %d, %d", len(l.slot), l.before, l.later)
	}
	return l
}

// made is an image of a page with other contents, a proper one of this file with the given LSN.
func (l *lostPages) made(lost recovery.LostPage, v uint64, lsn untorn.LSN) []byte {
	b := make([]byte, l.size)
	fill(b, uint64(lost.Page), v)
	page.Native{}.Seal(b, page.Seed{Incarnation: lost.Incarnation, No: lost.Page}, lsn)
	return b
}

// good brings page 0 as it was and page 1 newer than it was.
func (l *lostPages) good(_ context.Context, lost recovery.LostPage) ([]byte, error) {
	if lost.Page == 0 {
		return l.slot[0], nil
	}
	return l.made(lost, 3, l.later), nil
}

func (l *lostPages) options(d *sim.Disk) untorn.Options {
	o := onSim(d)
	o.IdleFlush = time.Hour
	return o
}

// TestFetchPageRefuses: what is not proven to be a lost page is not used for it, the error says why, and
// nothing is changed.
func TestFetchPageRefuses(t *testing.T) {
	l := losePages(t)
	for name, c := range map[string]struct {
		from func(recovery.LostPage) ([]byte, error)
		says string
	}{
		"nothing":        {func(recovery.LostPage) ([]byte, error) { return nil, nil }, "nobody else has it"},
		"an error":       {func(recovery.LostPage) ([]byte, error) { return nil, errors.New("no answer") }, "no answer"},
		"half":           {func(recovery.LostPage) ([]byte, error) { return l.slot[0][:2048], nil }, "2048 bytes"},
		"rot":            {func(recovery.LostPage) ([]byte, error) { b := slices.Clone(l.slot[0]); b[900] ^= 4; return b, nil }, "checksum"},
		"another page":   {func(recovery.LostPage) ([]byte, error) { return l.slot[1], nil }, "damaged"},
		"another file":   {func(p recovery.LostPage) ([]byte, error) { p.Incarnation++; return l.made(p, 3, l.later), nil }, "checksum"},
		"an older one":   {func(recovery.LostPage) ([]byte, error) { return l.older, nil }, "older"},
		"the same LSN":   {func(p recovery.LostPage) ([]byte, error) { return l.made(p, 3, l.before), nil }, "the newest copy has"},
		"not in the log": {func(p recovery.LostPage) ([]byte, error) { return l.made(p, 3, l.later+1<<20), nil }, "not in the log"},
	} {
		d := l.disk.Snapshot()
		o := l.options(d)
		o.FetchPage = func(ctx context.Context, p recovery.LostPage) ([]byte, error) {
			if p.Page == 0 {
				return c.from(p)
			}
			return l.good(ctx, p)
		}
		was := contents(t, d, "/db/data")
		err := opened(reopen(o))
		var lost *recovery.LostError
		if !errors.As(err, &lost) || len(lost.Pages) != 1 || lost.Pages[0].Page != 0 || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err := same(was, contents(t, d, "/db/data")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r, err := untorn.DryRun(ctx, o)
		if err != nil || r.Fetched != 1 || len(r.Lost) != 1 || !strings.Contains(r.Lost[0].Reason, c.says) {
			t.Errorf("%s: a dry run says %v, %+v", name, err, r)
		}
	}
}

// TestFetchPage: lost pages come from elsewhere, and wherever the recovery that installs them dies, the
// next one ends in the same state. What was overwritten had its copy durable before (I1): the image
// that a header names is not needed from elsewhere a second time.
func TestFetchPage(t *testing.T) {
	l := losePages(t)
	if err := opened(reopen(l.options(l.disk.Snapshot()))); !errors.Is(err, untorn.ErrPageLost) {
		t.Fatalf("nobody is asked: %v", err)
	}
	d := l.disk.Snapshot()
	o := l.options(d)
	o.FetchPage = l.good
	check := func(e *untorn.Engine) {
		t.Helper()
		f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for no, want := range []uint64{2, 3, 1, 1, 1, 2, 1, 1} {
			if v := readVersion(t, f, uint64(no)); v != want {
				t.Fatalf("page %d is version %d, not %d", no, v, want)
			}
		}
	}
	d.Record()
	e := open(t, o)
	d.Mark("open")
	check(e)
	log := d.Log()
	r := e.Report()
	var table bytes.Buffer
	if err := r.Table(&table); err != nil || r.Fetched != 2 || len(r.Lost) != 0 || !strings.Contains(table.String(), "2 pages were lost and came from elsewhere") {
		t.Errorf("%v: %d fetched, %d lost: %s", err, r.Fetched, len(r.Lost), &table)
	}
	for _, p := range r.Pages {
		if lsn := []untorn.LSN{l.before, l.later}; p.Page < 2 && (p.Source != "fetched" || p.LSN != uint64(lsn[p.Page])) {
			t.Errorf("%+v", p)
		}
	}
	damaged, err := l.disk.ReadFile(l.data)
	if err != nil {
		t.Fatal(err)
	}
	most := 6
	if testing.Short() {
		most = 3
	}
	states, begun, needed := 0, 0, 0
	for at, p := range log.Points(log.Cuts()) {
		isOpen := false
		for range log.Marks(at) {
			isOpen = true
		}
		for choice, disk := range p.States(sim.Explore{Exhaustive: 2, Items: 3, Samples: 3, Max: most}) {
			states++
			alone := disk.Snapshot()
			o := l.options(disk)
			o.FetchPage = l.good
			e, err := untorn.Open(ctx, o)
			if err != nil {
				t.Fatalf("cut at %d, %s: %v", at, p.Describe(choice), err)
			}
			check(e)
			mustClose(t, e)
			now, err := alone.ReadFile(l.data)
			if err != nil {
				t.Fatal(err)
			}
			overwritten := !bytes.Equal(now[l.start:][:l.size], damaged[l.start:][:l.size])
			e, err = untorn.Open(ctx, l.options(alone))
			var lost *recovery.LostError
			switch {
			case err == nil:
				check(e)
				mustClose(t, e)
			case !errors.As(err, &lost) || isOpen:
				t.Fatalf("cut at %d, %s, with nobody to ask: %v", at, p.Describe(choice), err)
			default:
				needed++
				for _, x := range lost.Pages {
					if x.Page == 0 && overwritten {
						t.Fatalf("cut at %d, %s: page 0 was overwritten without a copy: %v", at, p.Describe(choice), err)
					}
				}
			}
			if overwritten {
				begun++
			}
		}
	}
	t.Log(states, "states,", begun, "with the destination begun,", needed, "lost with nobody to ask")
	if begun == 0 || needed == 0 {
		t.Error("the crash states do not show what they should")
	}
}
