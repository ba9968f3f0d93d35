package stages

import (
	"math/rand/v2"
	"testing"

	"github.com/untorn/untorn/page"
)

// TestIndexAgainstMap: random puts and deletes, in few and many buckets, agree with a map.
func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		n := 1 + r.IntN(200)
		x := NewIndex[int](n)
		m := map[page.ID]*int{}
		for range 5000 {
			id := page.ID{File: page.FileID(r.IntN(3)), No: page.No(r.IntN(2 * n))}
			switch {
			case r.IntN(3) == 0:
				x.Delete(id)
				delete(m, id)
			case len(m) < n || m[id] != nil:
				v := new(int)
				x.Put(id, v)
				m[id] = v
			}
			probe := page.ID{File: page.FileID(r.IntN(3)), No: page.No(r.IntN(2 * n))}
			if x.Get(probe) != m[probe] || x.Len() != len(m) {
				t.Fatalf("seed %d: %v differs from the map", seed, probe)
			}
		}
		seen := 0
		x.Each(func(*int) { seen++ })
		if seen != len(m) {
			t.Fatalf("seed %d: Each saw %d of %d", seed, seen, len(m))
		}
	}
}

func TestIndexDoesNotAllocate(t *testing.T) {
	x := NewIndex[int](64)
	v := new(int)
	if n := testing.AllocsPerRun(1000, func() {
		x.Put(page.ID{No: 5}, v)
		x.Get(page.ID{No: 5})
		x.Delete(page.ID{No: 5})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
