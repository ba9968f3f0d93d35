package blocklog

import (
	"fmt"
	"io"
	"math/rand/v2"
)

// Choice is one of the states that a cut may leave: which of the pending writes landed, and which
// sectors of those that were torn.
type Choice struct {
	Name string
	land func(i int) bool
	torn int // the write that is torn, or -1
	take func(sector int64) bool
}

// Choices makes up to n states of these writes, the telling ones first: nothing landed, everything
// did, one write alone and torn (each of them, in random order), then subsets and tears at random. What
// is certain lands in each; what is whole is not torn.
func Choices(pending []Write, n int, rng *rand.Rand) []Choice {
	var open []int // that may or may not have landed
	for i := range pending {
		if !pending[i].Certain {
			open = append(open, i)
		}
	}
	out := []Choice{{Name: "nothing", land: func(int) bool { return false }, torn: -1}}
	if len(open) == 0 {
		return out
	}
	out = append(out, Choice{Name: "everything", land: func(int) bool { return true }, torn: -1})
	for _, at := range rng.Perm(len(open)) {
		k := open[at]
		if len(out) >= 2+(n-2)*2/3 {
			break // leave room for the others
		}
		if w := &pending[k]; !w.Whole && w.Len > Tear {
			c := Choice{Name: fmt.Sprintf("only %d", k), land: func(i int) bool { return i == k }, torn: k}
			out = append(out, c.tear(w, k, rng))
		}
	}
	for len(out) < n {
		out = append(out, choose(pending, open, rng))
	}
	return out[:min(n, len(out))]
}

// choose makes one state at random.
func choose(pending []Write, open []int, rng *rand.Rand) Choice {
	k := open[rng.IntN(len(open))]
	c := Choice{torn: -1}
	switch rng.IntN(6) {
	case 0:
		c.Name, c.land = fmt.Sprintf("only %d", k), func(i int) bool { return i == k }
	case 1:
		c.Name, c.land = fmt.Sprintf("all but %d", k), func(i int) bool { return i != k }
	case 2:
		c.Name, c.land = fmt.Sprintf("up to %d", k), func(i int) bool { return i <= k }
	case 3:
		c.Name, c.land = fmt.Sprintf("from %d", k), func(i int) bool { return i >= k }
	default:
		seed := rng.Uint64()
		c.Name = fmt.Sprintf("half of them (%x)", seed)
		c.land = func(i int) bool { return coin(seed, int64(i)) }
	}
	w := &pending[k]
	if w.Whole || w.Len <= Tear || rng.IntN(3) == 0 {
		return c
	}
	return c.tear(w, k, rng) // what is told of k above does not count then
}

// tear also tears write k.
func (c Choice) tear(w *Write, k int, rng *rand.Rand) Choice {
	c.torn = k
	sectors := w.Len / Tear
	at := 1 + rng.Int64N(sectors-1)
	switch rng.IntN(4) {
	case 0:
		c.Name += fmt.Sprintf(", of %d the first %d sectors", k, at)
		c.take = func(s int64) bool { return s < at }
	case 1:
		c.Name += fmt.Sprintf(", of %d all but the first %d sectors", k, at)
		c.take = func(s int64) bool { return s >= at }
	case 2:
		c.Name += fmt.Sprintf(", of %d every other sector", k)
		c.take = func(s int64) bool { return s%2 == at%2 }
	default:
		seed := rng.Uint64()
		c.Name += fmt.Sprintf(", of %d half the sectors (%x)", k, seed)
		c.take = func(s int64) bool { return coin(seed, s) }
	}
	return c
}

// coin is splitmix64's finalizer, by Sebastiano Vigna, taken for one bit.
func coin(seed uint64, i int64) bool {
	x := seed + uint64(i+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x^x>>31)&1 == 1
}

// Apply lands a choice on m, which holds what the medium does.
func (r *Replay) Apply(m io.WriterAt, c Choice) error {
	for i := range r.pending {
		w := &r.pending[i]
		take := c.take
		switch {
		case w.Certain:
			take = nil
		case i == c.torn:
		case !c.land(i):
			continue
		default:
			take = nil
		}
		if err := r.Land(m, w, take); err != nil {
			return err
		}
	}
	return nil
}
