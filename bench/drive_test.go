package bench

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/untorn/untorn/ring"
)

// testDrive has a file of so many pages of 4 KiB in a directory of the test's own.
func testDrive(t *testing.T, c driveConfig, pages int64) *drive {
	t.Helper()
	c.page, c.bytes, c.backend = 4096, pages*4096, ring.Auto
	d, err := newDrive(t.Context(), t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestBoundOfRunsThroughRanges: two callers of three pages a call, of ten pages each.
func TestBoundOfRunsThroughRanges(t *testing.T) {
	d := testDrive(t, driveConfig{batch: 2, depth: 2, batches: 2, callers: 2, call: 3}, 20)
	next := d.places()
	for i, want := range []int64{0, 1, 2, 10, 11, 12, 3, 4, 5, 13, 14, 15, 6, 7, 8, 16, 17, 18, 9, 0, 1, 19, 10} {
		if got := next() / 4096; got != want {
			t.Fatalf("write %d goes to page %d, want %d", i, got, want)
		}
	}
}

// TestBoundReadsAsMuchAsTheCallers: for each page written three are read, whichever is the slower.
func TestBoundReadsAsMuchAsTheCallers(t *testing.T) {
	for reads, each := range map[int]float64{75: 3, 20: 0.25} {
		d := testDrive(t, driveConfig{batch: 8, depth: 8, batches: 2, reads: reads, reading: 8}, 256)
		w := d.random(8)
		streams := d.withReads(w)
		if len(streams) != 2 {
			t.Fatalf("%d streams", len(streams))
		}
		for w.begun < 200 {
			if _, err := load(t.Context(), d.ring, d.comps, 20*time.Millisecond, streams...); err != nil {
				t.Fatal(err)
			}
		}
		r := streams[1]
		if got := float64(r.begun); got > each*float64(w.begun+16)+1 || got < each*float64(w.begun-1)-16 {
			t.Errorf("%d %% reads: %d reads beside %d writes", reads, r.begun, w.begun)
		}
		st := d.ring.(ring.StatsRing).Stats()
		if st.BytesWritten == 0 || int(st.BytesRead) != r.begun*4096 {
			t.Errorf("%d bytes were read, %d reads of 4096 were begun", st.BytesRead, r.begun)
		}
	}
}

// TestBoundBesideReads: reading takes its share of the drive, in every bound; what was asked for stays.
func TestBoundBesideReads(t *testing.T) {
	d := testDrive(t, driveConfig{batch: 8, depth: 8, batches: 2, reads: 50, reading: 8}, 256)
	var b Bounds
	for at := 20 * time.Millisecond; at < 10*time.Second && b.RandomFlushed <= 1; at *= 4 { // one flush can take longer
		b = Bounds{RandomFree: 1, RandomFlushed: 1, Overlapped: 1e12}
		if err := d.besideReads(t.Context(), boundFlushed, at, &b); err != nil {
			t.Fatal(err)
		}
	}
	if b.RandomFree != 1 || b.RandomFlushed <= 1 || b.Overlapped != 1e12 || d.c.reads != 50 {
		t.Errorf("%+v, %d %% reads", b, d.c.reads)
	}
}

// TestBoundCopiesGoWhereTheCopiesGo: -dwb-dir is another device, for the baselines too.
func TestBoundCopiesGoWhereTheCopiesGo(t *testing.T) {
	for _, m := range []Mode{Doublewrite, Naive} {
		c := little(t, m)
		c.DWBDir, c.Dist, c.Reads = t.TempDir(), Seq, 25
		c = c.withDefaults()
		s, err := newSession(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		ds, err := newDrives(t.Context(), []*session{s})
		if err != nil {
			t.Fatal(err)
		}
		if d := ds.of(s); d.c.callers != c.Clients || d.c.call != c.Batch || d.c.reads != 25 || d.c.reading != c.Clients*c.Batch {
			t.Errorf("%+v of %+v", d.c, c)
		}
		if at, _ := filepath.Rel(c.DWBDir, ds.of(s).seq.Name()); !filepath.IsLocal(at) {
			t.Errorf("%s: the bound's copies go to %s", m, ds.of(s).seq.Name())
		}
		if n, ok := s.t.(*naiveTarget); ok {
			if at, _ := filepath.Rel(c.DWBDir, n.copy.Name()); !filepath.IsLocal(at) {
				t.Errorf("the baseline's copies go to %s", n.copy.Name())
			}
		}
		if err := ds.close(); err != nil {
			t.Error(err)
		}
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
		empty(t, c.DWBDir)
	}
	a, b := result(10), result(10)
	b.Host.CopiesDevice = "xfs on /dev/other"
	if _, differ, err := Compare(a, b, false); err == nil || len(differ) != 1 {
		t.Errorf("copies on another device: %v, %v", differ, err)
	}
}
