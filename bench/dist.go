package bench

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/untorn/untorn/page"
)

// Dist is how clients choose pages.
type Dist string

// The distributions.
const (
	Uniform Dist = "uniform" // every page alike
	Zipf    Dist = "zipf"    // YCSB's zipfian, theta 0.99: a tenth of the pages get most writes
	Seq     Dist = "seq"     // each client runs through its own range
	Hot     Dist = "hot"     // a part of the pages gets nine tenths of the calls, all of it alike
)

// zipfTheta is YCSB's constant.
const zipfTheta = 0.99

// picker draws the pages of one client, all from its own range: every page has one writer, so the
// version it must have at the end is known.
type picker struct {
	lo, n uint64
	dist  Dist
	rng   *rand.Rand
	pos   uint64

	zetan, alpha, eta, half float64  // zipf
	hot                     uint64   // pages of the hot set
	place                   []uint32 // zipf, hot: the page of a rank

	seen  []uint32 // the batch a page was last drawn in
	batch uint32
}

// hotShare is how many in ten draws go to the hot set.
const hotShare = 9

// newPicker serves [lo, lo+n); hot percent of them are the hot set.
func newPicker(d Dist, hot int, lo, n, seed uint64, client int) *picker {
	p := &picker{
		lo: lo, n: n, dist: d, rng: rand.New(rand.NewPCG(seed, uint64(client)+1)),
		seen: make([]uint32, n),
	}
	p.pos = p.rng.Uint64N(n)
	if d == Zipf || d == Hot {
		p.spreadRanks()
	}
	if d == Zipf {
		p.zipf()
	}
	p.hot = max(1, n*uint64(hot)/100)
	return p
}

// zipf prepares Gray et al., "Quickly Generating Billion-Record Synthetic Databases".
func (p *picker) zipf() {
	for i := uint64(1); i <= p.n; i++ {
		p.zetan += 1 / math.Pow(float64(i), zipfTheta)
	}
	zeta2 := 1 + math.Pow(0.5, zipfTheta)
	p.alpha = 1 / (1 - zipfTheta)
	p.eta = (1 - math.Pow(2/float64(p.n), 1-zipfTheta)) / (1 - zeta2/p.zetan)
	p.half = math.Pow(0.5, zipfTheta)
}

// spreadRanks deals the ranks out over the range at random: popular pages do not lie side by side.
func (p *picker) spreadRanks() {
	p.place = make([]uint32, p.n)
	for i := range p.place {
		p.place[i] = uint32(i)
	}
	p.rng.Shuffle(len(p.place), func(i, j int) { p.place[i], p.place[j] = p.place[j], p.place[i] })
}

func (p *picker) draw() uint64 {
	switch p.dist {
	case Seq:
		p.pos++
		if p.pos >= p.n {
			p.pos = 0
		}
		return p.pos
	case Zipf:
		return uint64(p.place[p.rank()])
	case Hot:
		rank := p.rng.Uint64N(p.hot)
		if cold := p.n - p.hot; cold > 0 && p.rng.IntN(10) >= hotShare {
			rank = p.hot + p.rng.Uint64N(cold)
		}
		return uint64(p.place[rank])
	}
	return p.rng.Uint64N(p.n)
}

func (p *picker) rank() uint64 {
	u := p.rng.Float64()
	uz := u * p.zetan
	switch {
	case uz < 1:
		return 0
	case uz < 1+p.half && p.n > 1:
		return 1
	}
	return min(uint64(float64(p.n)*math.Pow(p.eta*u-p.eta+1, p.alpha)), p.n-1)
}

// fill draws distinct pages: a batch that named one twice would be merged and look faster.
func (p *picker) fill(dst []page.No) {
	p.batch++
	for i := range dst {
		k := p.draw()
		for try := 0; p.seen[k] == p.batch; try++ {
			if try < 16 {
				k = p.draw()
			} else if k++; k == p.n { // a small or a very skewed range: take a neighbour
				k = 0
			}
		}
		p.seen[k] = p.batch
		dst[i] = page.No(p.lo + k)
	}
}

// share is the range of client i of n among pages: contiguous, so that what clients write to beside
// the pages lies on different cache lines.
func share(pages uint64, i, n int) (lo, count uint64) {
	lo = pages * uint64(i) / uint64(n)
	return lo, pages*uint64(i+1)/uint64(n) - lo
}

func (d Dist) validate() error {
	switch d {
	case Uniform, Zipf, Seq, Hot:
		return nil
	}
	return fmt.Errorf("unknown distribution %q (uniform, zipf, hot, seq)", string(d))
}
