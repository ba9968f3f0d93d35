package bench

import (
	"slices"
	"testing"

	"github.com/untorn/untorn/page"
)

func TestPickerStaysInItsRangeAndRepeatsNoPageInABatch(t *testing.T) {
	for _, d := range []Dist{Uniform, Zipf, Seq, Hot} {
		for _, batch := range []int{1, 7, 64} {
			p := newPicker(d, 10, 1000, 64, 1, 3)
			nos := make([]page.No, batch)
			for range 200 {
				p.fill(nos)
				got := slices.Sorted(slices.Values(nos))
				if len(slices.Compact(slices.Clone(got))) != batch {
					t.Fatalf("%s: a batch of %d names a page twice: %v", d, batch, got)
				}
				if got[0] < 1000 || got[batch-1] >= 1064 {
					t.Fatalf("%s: page out of the client's range: %v", d, got)
				}
			}
		}
	}
}

func TestUniformReachesEveryPageAlike(t *testing.T) {
	const n, draws = 100, 100_000
	for _, c := range count(Uniform, n, draws) {
		if c < draws/n*8/10 || c > draws/n*12/10 {
			t.Fatalf("a page was drawn %d times, %d were to be expected", c, draws/n)
		}
	}
}

func TestZipfIsSkewedAsItSays(t *testing.T) {
	const n, draws = 10_000, 200_000
	c := slices.Sorted(slices.Values(count(Zipf, n, draws)))
	slices.Reverse(c)
	top, all := 0, 0
	for i, v := range c {
		if all += v; i < n/10 {
			top += v
		}
	}
	// Of YCSB's zipfian over 10,000 the first tenth has 76 %.
	if share := float64(top) / float64(all); share < 0.70 || share > 0.82 {
		t.Fatalf("a tenth of the pages got %.2f of the writes", share)
	}
}

func TestSequentialIsSequential(t *testing.T) {
	p := newPicker(Seq, 0, 0, 10, 5, 0)
	nos := make([]page.No, 25)
	for i := range nos { // one by one: a batch may not wrap onto itself
		p.fill(nos[i : i+1])
		if i > 0 && nos[i] != (nos[i-1]+1)%10 {
			t.Fatalf("%v", nos[:i+1])
		}
	}
}

func TestSharesCoverEveryPageOnce(t *testing.T) {
	for _, clients := range []int{1, 3, 7, 32} {
		next := uint64(0)
		for i := range clients {
			lo, n := share(1000, i, clients)
			if lo != next || n == 0 {
				t.Fatalf("client %d of %d has [%d, +%d), want it to begin at %d", i, clients, lo, n, next)
			}
			next = lo + n
		}
		if next != 1000 {
			t.Fatalf("%d clients cover %d pages", clients, next)
		}
	}
}

func count(d Dist, n uint64, draws int) []int {
	p := newPicker(d, 10, 0, n, 1, 0)
	c := make([]int, n)
	for range draws {
		c[p.draw()]++
	}
	return c
}

func TestHotSetGetsNineTenths(t *testing.T) {
	const n, draws = 1000, 200_000
	c := count(Hot, n, draws) // a tenth of the pages
	sorted := slices.Sorted(slices.Values(c))
	slices.Reverse(sorted)
	top := 0
	for _, v := range sorted[:n/10] {
		top += v
	}
	if share := float64(top) / draws; share < 0.89 || share > 0.91 {
		t.Errorf("a tenth of the pages got %.3f of the writes", share)
	}
	// All of the hot pages alike, and all of the others.
	if sorted[0] > 2*sorted[n/10-1] || sorted[n-1] == 0 {
		t.Errorf("hot pages from %d to %d, the coldest %d", sorted[n/10-1], sorted[0], sorted[n-1])
	}
	// They do not lie side by side.
	together := 0
	for i := 1; i < n; i++ {
		if c[i] > sorted[n/10] && c[i-1] > sorted[n/10] {
			together++
		}
	}
	if together > n/20 {
		t.Errorf("%d hot pages lie behind a hot one", together)
	}
}
