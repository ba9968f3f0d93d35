package walstage

import (
	"hash/crc32"
	"sync/atomic"
	"time"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// group is one group on its way to the disk, in a buffer of its own that is written as it is. It
// belongs to the log's mutex while free, open or sealed, to whoever took it while it is written.
type group struct {
	buf  []byte // MaxGroup bytes, aligned
	seg  *segment
	off  int64
	lsn  page.LSN
	size int // once sealed: header, payload and padding

	limit   int // how far this group may be filled
	fill    int
	records uint32
	crc     uint32    // of the payload so far, computed while the bytes are in the cache
	born    time.Time // when its first record was accepted
	end     page.LSN  // of the last record

	wanted  bool        // somebody waits for it: write it as soon as the depth allows
	written bool        // complete, but an earlier group may not be
	reaped  atomic.Bool // its write has completed; kept for stages.FollowEarly alone
	waiters []*waiter
	op      ring.Op
}

// waiter is one call of WaitDurable that sleeps.
type waiter struct {
	ch  chan struct{} // capacity 1; one send per use
	err error         // set before the send
}

func (g *group) reset(s *segment, off int64, limit int) {
	g.seg, g.off, g.lsn = s, off, s.lsn(off)
	g.limit, g.fill, g.size = limit, groupHeaderSize, 0
	g.records, g.crc, g.end = 0, 0, g.lsn
	g.wanted, g.written = false, false
	g.reaped.Store(false)
}

// put adds a record that fits.
func (g *group) put(kind uint8, rec []byte) (start, end page.LSN) {
	b := g.buf[g.fill : g.fill+frameSize+len(rec)]
	putFrame(b, kind, len(rec))
	copy(b[frameSize:], rec)
	g.crc = crc32.Update(g.crc, page.Castagnoli, b)
	start = g.lsn + page.LSN(g.fill)
	g.fill += len(b)
	g.records++
	g.end = g.lsn + page.LSN(g.fill)
	return start, g.end
}

// write makes the group durable; on return it may be acknowledged if the error is nil (I3).
func (g *group) write(o *Options, method Commit) (took time.Duration, err error) {
	begin := time.Now()
	if g.size == 0 {
		return 0, nil // it stands for what was written before (needs)
	}
	g.op = ring.Op{Kind: ring.Write, File: g.seg.file, Off: g.off, Buf: g.buf[:g.size]}
	if method == CommitDSync {
		g.op.Flags = ring.DSync
	}
	if err := o.Ring.Do(&g.op); err != nil {
		return 0, g.seg.err("write group", g.off, err)
	}
	g.reaped.Store(o.Mutants.Has(stages.FollowEarly))
	if method == CommitFlush {
		// The write has been reaped, so this flush covers it (I1).
		g.op = ring.Op{Kind: ring.DataSync, File: g.seg.file}
		if err := o.Ring.Do(&g.op); err != nil {
			return 0, g.seg.err("flush group", g.off, err)
		}
	}
	return time.Since(begin), nil
}
