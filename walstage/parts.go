package walstage

import (
	"hash/crc32"

	"github.com/untorn/untorn/page"
)

// AppendParts is Append of a record that lies in three pieces, the first of which is not empty. They
// are copied before it returns.
func (l *Log) AppendParts(kind uint8, head, a, b []byte) (start, end page.LSN, err error) {
	n := len(head) + len(a) + len(b)
	l.mu.Lock()
	g, err := l.reserve(frameSize+n, kind)
	if err != nil {
		l.mu.Unlock()
		return 0, 0, err
	}
	start, end = g.putParts(kind, n, head, a, b)
	l.end.Store(uint64(end))
	l.stats.Records++
	l.stats.RecordBytes += uint64(n)
	l.took(g, frameSize+n)
	l.mu.Unlock()
	return start, end, l.settleLarge(frameSize+n, end)
}

// putParts adds a record of n bytes that fits.
func (g *group) putParts(kind uint8, n int, head, a, b []byte) (start, end page.LSN) {
	to := g.buf[g.fill : g.fill+frameSize+n]
	putFrame(to, kind, n)
	at := frameSize
	at += copy(to[at:], head)
	at += copy(to[at:], a)
	copy(to[at:], b)
	g.crc = crc32.Update(g.crc, page.Castagnoli, to)
	start = g.lsn + page.LSN(g.fill)
	g.fill += len(to)
	g.records++
	g.end = g.lsn + page.LSN(g.fill)
	return start, g.end
}
