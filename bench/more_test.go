package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
)

func TestWALEndToEnd(t *testing.T) {
	for _, commit := range []string{"sync", "async", "never"} {
		c := WALConfig{
			Dir: t.TempDir(), Clients: 4, RecordBytes: 200, Commit: commit, Repeat: 2, Verify: true,
			Warmup: 20 * time.Millisecond,
		}
		r := patientWAL(t, c)
		if r.Records == 0 || r.Latency.Count == 0 || r.Bare.Count == 0 || len(r.Repeats) == 0 || r.CPU <= 0 {
			t.Fatalf("%+v", r)
		}
		if v := r.Verify; !v.OK || v.Checked == 0 || v.Checked != v.Written {
			t.Fatalf("%s: %+v", commit, v)
		}
		empty(t, c.Dir)
	}
	if _, err := RunWAL(t.Context(), WALConfig{Commit: "x", RecordBytes: 1}, nil); !errors.Is(err, ErrUsage) {
		t.Fatal(err)
	}
}

func TestLimitEndToEnd(t *testing.T) {
	dir := t.TempDir()
	c := LimitConfig{Dir: dir, SizeBytes: 8 << 20, Duration: 20 * time.Millisecond, Repeat: 2, Sync: true, NoFIO: true}
	r, err := Limit(t.Context(), c, nil)
	// Where others have the disk, 20 ms may pass without one whole batch.
	for err == nil && (r.Flushed <= 0 || r.Overlapped <= 0) && c.Duration < 3*time.Second {
		c.Duration *= 5
		r, err = Limit(t.Context(), c, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.RandomPages <= 0 || r.SequentialBytes <= 0 || r.Flush.P50 <= 0 || r.Free <= 0 || r.Flushed <= 0 || r.Overlapped <= 0 || r.DSync.P50 <= 0 {
		t.Fatalf("%+v", r)
	}
	durable, not := 0, 0
	for _, s := range r.SyncTable {
		if s.Latency.Count == 0 {
			t.Errorf("%s was not timed", s.Method)
		}
		if s.Durable {
			durable++
		} else if not++; s.Note == "" {
			t.Errorf("%s is not durable, and nobody says why", s.Method)
		}
	}
	if durable == 0 || not == 0 {
		t.Errorf("%d durable ways, %d others", durable, not)
	}
	empty(t, dir)
}

// TestGoBenchOfEveryRound: a line for each measurement, which benchstat needs several of.
func TestGoBenchOfEveryRound(t *testing.T) {
	l := limitOf()
	l.values = map[string][]float64{"random": {40_000, 50_000}, "sequential": {1000}}
	var b strings.Builder
	if err := errors.Join(l.WriteGoBench(&b), recoveryOf().WriteGoBench(&b)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"BenchmarkLimit/kind=random/page=16384/depth=32/batch=64-0 1 25000.0 ns/op 40000 pages/s\n",
		"BenchmarkLimit/kind=random/page=16384/depth=32/batch=64-0 1 20000.0 ns/op 50000 pages/s\n",
		"BenchmarkLimit/kind=sequential/page=16384/depth=32/batch=64-0 1 15625.0 ns/op 64000 pages/s\n",
		"BenchmarkRecovery/mode=fullpage/page=16384/log=1048576-0 1 500000000 ns/op 2097152 log-B/s 100000000 replay-ns\n",
		"BenchmarkRecovery/mode=fullpage/page=16384/log=1048576-0 1 700000000 ns/op",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in\n%s", want, b.String())
		}
	}
}

// TestGoBenchNamesEveryPoint: points of a sweep are not taken for repeats of one.
func TestGoBenchNamesEveryPoint(t *testing.T) {
	for _, set := range settings() {
		var names []string
		for _, v := range []int{4096, 8192} {
			r := result(1)
			r.Config.LogBytes = 128
			set.set(&r.Config, v)
			r.PageBytes, r.Clients, r.BatchPages = r.Config.PageBytes, r.Config.Clients, r.Config.Batch
			names = append(names, r.name())
		}
		if names[0] == names[1] {
			t.Errorf("sweep over %s: both points are %s", set.name, names[0])
		}
	}
	for _, set := range walSettings() {
		var names []string
		for _, v := range []int{4096, 8192} {
			r := &WALResult{}
			set.set(&r.Config, v)
			r.RecordBytes, r.Clients = r.Config.RecordBytes, r.Config.Clients
			names = append(names, r.name())
		}
		if names[0] == names[1] {
			t.Errorf("sweep of the log over %s: both points are %s", set.name, names[0])
		}
	}
}

func TestLimitComplaints(t *testing.T) {
	for _, c := range []LimitConfig{{Batch: 1 << 50}, {Batch: 1 << 10}, {Batch: -1}, {Depth: 300}, {PageBytes: -4096, Batch: 1}} {
		if err := c.Validate(); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestLimitInterrupted: what was not measured is in no line, least of all as 0.
func TestLimitInterrupted(t *testing.T) {
	c := LimitConfig{Dir: t.TempDir(), SizeBytes: 4 << 20, Duration: 40 * time.Millisecond, Repeat: 3, Depths: []int{1, 2}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Limit(ctx, c, func(what string, _ float64) {
		if what == "flushes" {
			cancel()
		}
	})
	if err != nil || !r.Interrupted || r.Rounds != 1 || r.RandomPages <= 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	if len(r.ByDepth) > 0 || len(r.FlushAfter) > 0 {
		t.Errorf("depths %+v, flushes %+v", r.ByDepth, r.FlushAfter)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"flush after", "one page with DSYNC", "A flush takes", "in flight  random", "not installed"} {
		if strings.Contains(text.String(), no) {
			t.Errorf("%q is in the report:\n%s", no, text.String())
		}
	}
	var page strings.Builder
	if err := r.WriteHTML(&page); err != nil || !strings.Contains(page.String(), "Rounds: 1.") {
		t.Errorf("%v, %d rounds of 3", err, r.Rounds)
	}
	var lines strings.Builder
	if err := r.WriteGoBench(&lines); err != nil || strings.Count(lines.String(), "BenchmarkLimit/") != 5 {
		t.Errorf("%v: of one round of five measurements:\n%s", err, lines.String())
	}
	// One round is one measurement, however many were asked for.
	changes, _, err := Compare(r, r, false)
	if err != nil || changes[0].N != [2]int{1, 1} {
		t.Errorf("%v, %+v", err, changes[0])
	}
	other := *r
	other.Backend = "threads"
	if _, differ, err := Compare(r, &other, false); !errors.Is(err, ErrDifferent) || len(differ) != 1 {
		t.Errorf("another backend: %v, %v", err, differ)
	}
}

func TestMemoryIsNotDurable(t *testing.T) {
	for fs, off := range map[string]bool{"tmpfs": true, "ext4": false} {
		var h Host
		h.mounted(&fsys.Mount{Type: fs})
		if h.FileSystem != fs || (h.FlushesOff != "") != off {
			t.Errorf("%s: %+v", fs, h)
		}
	}
}

func TestLimitBesideFIO(t *testing.T) {
	if _, err := exec.LookPath("fio"); err != nil {
		t.Skip("fio is not installed")
	}
	// The kernel may count CPU time in ticks: a run that took none of them on a busy machine says 0.
	// A longer one cannot.
	for d := 100 * time.Millisecond; ; d *= 4 {
		c := LimitConfig{Dir: t.TempDir(), SizeBytes: 8 << 20, Duration: d, Repeat: 1}
		r, err := Limit(t.Context(), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.FIO == nil || r.FIO.RandomPages <= 0 || r.FIO.SequentialBytes <= 0 || r.FIO.RandomSynced <= 0 {
			t.Fatalf("%+v", r.FIO)
		}
		if r.FIO.RandomCPU > 0 {
			break
		}
		if d > 5*time.Second {
			t.Fatalf("fio took no CPU time in %v: %+v", d, r.FIO)
		}
	}
}

// liar is a target that forgets, tears or misplaces one page.
type liar struct {
	target
	images map[page.No][]byte
	hide   map[page.No][]byte
}

func (l *liar) settle(context.Context) error { return nil }
func (l *liar) reopen(context.Context) error { l.images = l.hide; return nil }
func (l *liar) worker(int) worker            { return &liarWorker{l: l} }

type liarWorker struct {
	worker
	l *liar
}

func (w *liarWorker) get(_ context.Context, nos []page.No, see func(int, []byte)) error {
	for i, no := range nos {
		see(i, w.l.images[no])
	}
	return nil
}

func TestVerifyNoticesEveryLie(t *testing.T) {
	const pages = 130
	c := newContents(1, 0)
	image := func(no page.No, v uint64) []byte {
		b := make([]byte, 4096)
		c.fill(b, no, v)
		return b
	}
	for name, lie := range map[string]func(map[page.No][]byte){
		"older":     func(m map[page.No][]byte) { m[77] = image(77, 2) },
		"newer":     func(m map[page.No][]byte) { m[77] = image(77, 4) },
		"lost":      func(m map[page.No][]byte) { m[77] = make([]byte, 4096) },
		"torn":      func(m map[page.No][]byte) { copy(m[77][2048:], image(77, 2)[2048:]) },
		"misplaced": func(m map[page.No][]byte) { m[77] = image(78, 3) },
		"":          func(map[page.No][]byte) {},
	} {
		fresh := func() map[page.No][]byte {
			m := map[page.No][]byte{}
			for no := range page.No(pages) {
				m[no] = image(no, 3)
			}
			return m
		}
		for _, late := range []bool{false, true} { // seen at once, or only after opening again
			l := &liar{images: fresh(), hide: fresh()}
			if lie(l.hide); !late {
				lie(l.images)
			}
			s := &session{contents: c, ledger: make([]uint64, pages), t: l}
			for i := range s.ledger {
				s.ledger[i] = 3
			}
			v, err := s.verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if v.OK != (name == "") || name != "" && (len(v.Wrong) == 0 || !strings.Contains(v.Wrong[0], "page 77")) {
				t.Errorf("%q, late %t: %+v", name, late, v)
			}
		}
	}
}

func TestScratchRemovesOnlyItsOwn(t *testing.T) {
	top := t.TempDir()
	mine := filepath.Join(top, "there")
	if err := os.Mkdir(mine, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newScratch(filepath.Join(mine, "a", "b"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.sub("x"); err != nil {
		t.Fatal(err)
	}
	// Somebody else begins to use one of the directories that were made.
	other := filepath.Join(mine, "a", "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(mine, "a", "b")); !os.IsNotExist(err) {
		t.Errorf("b is still there: %v", err)
	}
	if s, err = newScratch(mine, true); err != nil {
		t.Fatal(err)
	}
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Path); err != nil {
		t.Errorf("keep: %v", err)
	}
}

// TestClientAllocatesNothing is the benchmark's own overhead: its loop must not show in
// allocs_per_page.
func TestClientAllocatesNothing(t *testing.T) {
	c := Config{Clients: 1, Batch: 16, SizeBytes: 4 << 20}.withDefaults()
	w := &slowOnce{}
	for range c.Batch {
		w.bufs = append(w.bufs, make([]byte, c.PageBytes))
	}
	k := newClient(&c, 0, w, newContents(1, 0), make([]uint64, c.pages()))
	if n := testing.AllocsPerRun(100, func() {
		k.picker.fill(k.nos)
		if err := k.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		record(k.writes, time.Millisecond)
	}); n > 0 {
		t.Errorf("%v allocations a call", n)
	}
}
