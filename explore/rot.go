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
	rotLog  rotKind = iota // a record that a later group header proves durable
	rotPage                // a page in its place
	rotAny                 // anything, in one place or in several: see corrupt
)

// rot flips bits in a crash state that recovery had been right about. The open must then refuse, or
// return everything that was acknowledged, or report the page it hit; never anything wrong.
func (r *run) rot(ctx context.Context, pt *sim.Point, c sim.Choice, exp *expect, seen *observed, buf *buffers) {
	rng := rand.New(rand.NewPCG(r.p.seed^uint64(pt.Index), uint64(len(c.Name))))
	kind := r.p.rotten[rng.IntN(len(r.p.rotten))]
	d := pt.Make(c)
	let := pass{damaged: map[pageKey]bool{}}
	var where string
	switch kind {
	case rotLog:
		where = r.rotRecord(d, exp, seen, rng)
	case rotPage:
		where = r.rotPage(d, seen, rng, let.damaged)
	case rotAny:
		r.corrupt(ctx, pt, c, exp, seen, buf)
		return
	}
	if where == "" {
		return
	}
	let.refuse = true
	t := r.try(ctx, d, buf)
	t.leave(d, buf)
	r.x.count(false, Rotten)
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
func (r *run) rotRecord(d *sim.Disk, exp *expect, seen *observed, rng *rand.Rand) string {
	var ends []untorn.LSN
	for _, rec := range seen.records {
		if rec.end <= exp.proven {
			ends = append(ends, rec.end)
		}
	}
	if len(ends) == 0 {
		return ""
	}
	at := ends[rng.IntN(len(ends))] - 1
	list, err := d.FS().ReadDir(r.p.walDir())
	if err != nil {
		return ""
	}
	for _, x := range list {
		name := path.Join(r.p.walDir(), x.Name)
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
		off := super.DataStart(r.p.block()) + int64(no)*int64(r.p.pageSize) + int64(untorn.PageHeader+rng.IntN(r.p.pageSize-untorn.PageHeader))
		return flip(d, dataPath(r.p, f.id), off) + fmt.Sprintf(" (page %d of %s)", no, name)
	}
	return ""
}
