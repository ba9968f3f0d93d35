package explore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"

	"github.com/untorn/untorn/sim"
)

// damage is what is done to a range of a file, on the medium, while nothing runs.
type damage struct {
	area       area
	how        string
	file       string
	off        int64
	mask       []byte // bits to flip
	unreadable bool   // the sectors of the range cannot be read until they are written again
	size       int    // of what is unreadable
}

func (x damage) n() int {
	if x.unreadable {
		return x.size
	}
	return len(x.mask)
}

func (x damage) String() string {
	return fmt.Sprintf("%s of %s at %d+%d (%v)", x.how, path.Base(x.file), x.off, x.n(), x.area.kind)
}

// do does it to a disk.
func (x damage) do(d *sim.Disk) error {
	if x.unreadable {
		return d.FailReads(x.file, x.off, x.size)
	}
	return d.Corrupt(x.file, x.off, x.mask...)
}

// The ways of damage.
const (
	flipBit = iota
	flipBits
	zeroSector
	garbageSector
	olderSector
	swapSectors
	loseSector
	damageWays
)

// vandal does damage, from a seed.
type vandal struct {
	rng    *rand.Rand
	sector int64
	m      *medium
	log    *sim.Log
	at     int // crash point: what was written before it may come back
}

// hit damages one area. It returns nothing when the way it picked changes nothing there.
func (v *vandal) hit(a area, others []area) []damage {
	b := v.m.files[a.file]
	switch v.rng.IntN(damageWays) {
	case flipBit:
		return v.flips(a, 1)
	case flipBits:
		return v.flips(a, 2+v.rng.IntN(3))
	case zeroSector:
		off, n := v.part(a)
		return v.replace(a, "zeros", off, make([]byte, n))
	case garbageSector:
		off, n := v.part(a)
		junk := make([]byte, n)
		for i := range junk {
			junk[i] = byte(v.rng.Uint32())
		}
		return v.replace(a, "garbage", off, junk)
	case olderSector:
		off, n := v.part(a)
		if old := v.older(a.file, off, n); old != nil {
			return v.replace(a, "an older version", off, old)
		}
		return nil
	case swapSectors:
		o := others[v.rng.IntN(len(others))]
		off, n := v.part(a)
		to, k := v.part(o)
		n = min(n, k)
		if o.file == a.file && off < to+int64(n) && to < off+int64(n) {
			return nil
		}
		mine, its := bytes.Clone(b[off:off+int64(n)]), bytes.Clone(v.m.files[o.file][to:to+int64(n)])
		return append(v.replace(a, "what belongs elsewhere", off, its), v.replace(o, "what belongs elsewhere", to, mine)...)
	}
	off, n := v.part(a)
	off, n = off/v.sector*v.sector, (off+int64(n)+v.sector-1)/v.sector*v.sector-off/v.sector*v.sector
	return []damage{{area: a, how: "a lost sector", file: a.file, off: off, unreadable: true, size: int(n)}}
}

// flips flips single bits, for the most part near the beginning, where the fields are.
func (v *vandal) flips(a area, n int) (ds []damage) {
	seen := map[int64]bool{}
	for range n {
		within := a.n
		if v.rng.IntN(2) == 0 {
			within = min(within, 256)
		}
		off := a.off + v.rng.Int64N(within)
		if seen[off] {
			continue
		}
		seen[off] = true
		ds = append(ds, damage{area: a, how: "a flipped bit", file: a.file, off: off, mask: []byte{1 << v.rng.IntN(8)}})
	}
	return ds
}

// part is one sector of an area, or what of it lies in the area; now and then the whole.
func (v *vandal) part(a area) (off, n int64) {
	const whole = 64 << 10
	if v.rng.IntN(5) == 0 && a.n <= whole {
		return a.off, a.n
	}
	const sector = 512
	first, last := a.off/sector, (a.off+a.n-1)/sector
	off = (first + v.rng.Int64N(last-first+1)) * sector
	end := min(off+sector, a.off+a.n)
	off = max(off, a.off)
	return off, end - off
}

func (v *vandal) replace(a area, how string, off int64, with []byte) []damage {
	now := v.m.files[a.file][off : off+int64(len(with))]
	if bytes.Equal(now, with) {
		return nil
	}
	mask := make([]byte, len(with))
	for i := range mask {
		mask[i] = now[i] ^ with[i]
	}
	return []damage{{area: a, how: how, file: a.file, off: off, mask: mask}}
}

// older finds what a range held at another time: something that was written there before the crash.
func (v *vandal) older(file string, off, n int64) []byte {
	var found []byte
	count := 0
	for i := range v.at {
		e := v.log.At(i)
		if e.Kind != sim.WriteSubmit || e.File != file || e.Off > off || e.Off+int64(e.Len) < off+n {
			continue
		}
		was := e.Data()[off-e.Off : off-e.Off+n]
		if bytes.Equal(was, v.m.files[file][off:off+n]) {
			continue
		}
		if count++; v.rng.IntN(count) == 0 {
			found = was
		}
	}
	return found
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
