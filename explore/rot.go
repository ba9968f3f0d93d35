package explore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/sim"
	"github.com/untorn/untorn/super"
)

// rotKind is what bits are flipped in.
type rotKind uint8

const (
	rotLog   rotKind = iota // a record that a later group header proves durable
	rotPage                 // a page in its place
	rotSuper                // a copy of super
	rotDWB                  // anywhere in the doublewrite file
)

// rot flips bits in a crash state that recovery had been right about. The open must then refuse, or
// return everything that was acknowledged, or report the page it hit; never anything wrong.
func (r *run) rot(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, seen *observed, buf *buffers) {
	rng := rand.New(rand.NewPCG(r.p.seed^uint64(pt.Index), uint64(len(c.Name))))
	d := pt.Make(c)
	kind := r.p.rotten[rng.IntN(len(r.p.rotten))]
	let := pass{damaged: map[pageKey]bool{}}
	var where string
	switch kind {
	case rotLog:
		where = rotRecord(d, exp, seen, rng)
	case rotPage:
		where = r.rotPage(d, seen, rng, let.damaged)
	case rotSuper:
		copyNo := rng.IntN(super.Copies)
		where = flip(d, "/db/super", int64(copyNo)*super.Zone+int64(rng.IntN(400)))
	case rotDWB:
		if b, err := d.ReadFile("/db/dwb/regions"); err == nil && len(b) > 0 {
			where = flip(d, "/db/dwb/regions", rng.Int64N(int64(len(b))))
		}
		let.older = true // the residual of I6: the very slot rots before a later header recorded F
	}
	if where == "" {
		return
	}
	t := r.try(ctx, d, buf)
	t.leave(d)
	r.x.count(false, Rotten)
	if t.err != nil {
		return // refused, which is right
	}
	if cs := t.judge(exp, let); len(cs) > 0 {
		r.report(cs, pt, c, "power cut, then a bit rotted in "+where, exp, t.seen, nil)
	}
}

func flip(d *sim.Disk, name string, off int64) string {
	if err := d.Corrupt(name, off, 0x40); err != nil {
		return ""
	}
	return fmt.Sprintf("%s at offset %d", name, off)
}

// rotRecord hits the last byte of a record of which something later says that it had been durable.
func rotRecord(d *sim.Disk, exp *expect, seen *observed, rng *rand.Rand) string {
	var ends []untorn.LSN
	for _, r := range seen.records {
		if r.end <= exp.proven {
			ends = append(ends, r.end)
		}
	}
	if len(ends) == 0 {
		return ""
	}
	at := ends[rng.IntN(len(ends))] - 1
	list, err := d.FS().ReadDir("/db/wal")
	if err != nil {
		return ""
	}
	for _, x := range list {
		name := path.Join("/db/wal", x.Name)
		b, err := d.ReadFile(name)
		if err != nil || len(b) < 4096 || !bytes.HasPrefix(b, []byte("unWS")) {
			continue
		}
		// The header of a segment: length, sequence, epoch, first LSN (walstage/doc.go).
		length, seq, first := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[56:])
		if strings.HasPrefix(x.Name, fmt.Sprintf("%016x", seq)) && uint64(at) >= first && uint64(at) < first+length {
			return flip(d, name, int64(uint64(at)-first)) + fmt.Sprintf(", in the record ending at LSN %d; the log had been proven durable through %d", at+1, exp.proven)
		}
	}
	return ""
}

// rotPage hits a page somewhere behind its header.
func (r *run) rotPage(d *sim.Disk, seen *observed, rng *rand.Rand, hit map[pageKey]bool) string {
	for name, f := range seen.files {
		if len(f.pages) == 0 {
			continue
		}
		no := rng.IntN(len(f.pages))
		hit[pageKey{f.uid, uint64(no)}] = true
		off := super.DataStart(4096) + int64(no)*int64(r.p.pageSize) + int64(untorn.PageHeader+rng.IntN(r.p.pageSize-untorn.PageHeader))
		return flip(d, fmt.Sprintf("/db/data/%08d.pages", f.id), off) + fmt.Sprintf(" (page %d of %s)", no, name)
	}
	return ""
}
