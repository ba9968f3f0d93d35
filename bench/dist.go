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

	zetan, alpha, eta, half float64 // zipf
	stride                  uint64  // zipf: spreads ranks over the range

	seen  []uint32 // the batch a page was last drawn in
	batch uint32
}

// newPicker serves [lo, lo+n).
func newPicker(d Dist, lo, n, seed uint64, client int) *picker {
	p := &picker{
		lo: lo, n: n, dist: d, rng: rand.New(rand.NewPCG(seed, uint64(client)+1)),
		seen: make([]uint32, n),
	}
	p.pos = p.rng.Uint64N(n)
	if d == Zipf {
		p.zipf()
	}
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
	// A stride coprime to n visits every page once: popular pages do not lie side by side.
	p.stride = uint64(float64(p.n)*0.6180339887) | 1
	for gcd(p.stride, p.n) != 1 {
		p.stride += 2
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
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
		return p.rank() * p.stride % p.n
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
	case Uniform, Zipf, Seq:
		return nil
	}
	return fmt.Errorf("unknown distribution %q (uniform, zipf, seq)", string(d))
}
