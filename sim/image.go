package sim

import (
	"bytes"
	"slices"
)

// A file's bytes are a persistent array: a root of leaves of chunks, shared between forks and
// copied when written. Forking costs one struct; a state that differs in a page costs that page.
const (
	chunkSize  = 4 << 10
	leafChunks = 64
	leafSize   = chunkSize * leafChunks
)

// token marks what an image may write in place: what carries the image's own token.
type token struct{ _ byte }

// chunk is a piece of a file. Only the leaf that says it is its own may write it: it may be a part of
// a recorded write, or be shared with other images.
type chunk [chunkSize]byte

type leaf struct {
	own    *token
	mine   uint64 // the chunks that may be written in place
	chunks [leafChunks]*chunk
}

// image is the contents of a file. Bytes never written are zero, past the size too.
type image struct {
	size    int64
	root    []*leaf
	ownRoot bool
	own     *token // nil: everything here is shared
}

var zeroChunk chunk

// fork returns an independent image with the same contents. It changes an image that owns
// something, and only reads one that does not: a frozen image may be forked by many goroutines.
func (m *image) fork() image {
	if m.own != nil {
		m.own, m.ownRoot = nil, false
	}
	return *m
}

func (m *image) chunkAt(i int64) *chunk {
	l := int(i / leafChunks)
	if l >= len(m.root) || m.root[l] == nil || m.root[l].chunks[i%leafChunks] == nil {
		return &zeroChunk
	}
	return m.root[l].chunks[i%leafChunks]
}

// ownChunk returns chunk i ready to be written.
func (m *image) ownChunk(i int64) *chunk {
	lf, k := m.ownLeaf(int(i/leafChunks)), i%leafChunks
	if lf.mine>>k&1 != 0 {
		return lf.chunks[k]
	}
	c := new(chunk)
	if old := lf.chunks[k]; old != nil {
		*c = *old
	}
	lf.chunks[k] = c
	lf.mine |= 1 << k
	return c
}

// setChunk makes chunk i one that nobody writes any more; nil is zeros.
func (m *image) setChunk(i int64, c *chunk) {
	if l := int(i / leafChunks); c == nil && (l >= len(m.root) || m.root[l] == nil || m.root[l].chunks[i%leafChunks] == nil) {
		return
	}
	lf, k := m.ownLeaf(int(i/leafChunks)), i%leafChunks
	lf.chunks[k] = c
	lf.mine &^= 1 << k
}

func (m *image) ownLeaf(l int) *leaf {
	if m.own == nil {
		m.own = new(token)
	}
	if !m.ownRoot || l >= len(m.root) {
		root := make([]*leaf, max(l+1, len(m.root)))
		copy(root, m.root)
		m.root, m.ownRoot = root, true
	}
	lf := m.root[l]
	switch {
	case lf == nil:
		lf = &leaf{own: m.own}
	case lf.own != m.own:
		lf = &leaf{own: m.own, chunks: lf.chunks}
	}
	m.root[l] = lf
	return lf
}

func (m *image) readAt(p []byte, off int64) {
	for len(p) > 0 {
		n := min(len(p), int(chunkSize-off%chunkSize))
		if c := m.chunkAt(off / chunkSize); c == &zeroChunk {
			clear(p[:n])
		} else {
			copy(p[:n], c[off%chunkSize:])
		}
		p, off = p[n:], off+int64(n)
	}
}

// writeAt changes bytes; the size is the caller's affair.
func (m *image) writeAt(p []byte, off int64) {
	for len(p) > 0 {
		n := min(len(p), int(chunkSize-off%chunkSize))
		m.copyIn(p[:n], off)
		p, off = p[n:], off+int64(n)
	}
}

// putAt is writeAt of bytes that never change again: whole chunks of them are not copied.
func (m *image) putAt(p []byte, off int64) {
	zeros := isBlank(p)
	for len(p) > 0 {
		n := min(len(p), int(chunkSize-off%chunkSize))
		switch {
		case n < chunkSize:
			m.copyIn(p[:n], off)
		case zeros:
			m.setChunk(off/chunkSize, nil)
		default:
			m.setChunk(off/chunkSize, (*chunk)(p))
		}
		p, off = p[n:], off+int64(n)
	}
}

// copyIn changes bytes of one chunk. Bytes that are there already cost none.
func (m *image) copyIn(p []byte, off int64) {
	if at := m.chunkAt(off / chunkSize)[off%chunkSize:]; !bytes.Equal(at[:len(p)], p) {
		copy(m.ownChunk(off / chunkSize)[off%chunkSize:], p)
	}
}

// view returns bytes without copying them where it can. They stay as they are only as long as the
// image is not written: use it on frozen images.
func (m *image) view(off int64, n int) []byte {
	if at := int(off % chunkSize); at+n <= chunkSize {
		return m.chunkAt(off / chunkSize)[at : at+n : at+n]
	}
	p := make([]byte, n)
	m.readAt(p, off)
	return p
}

// zeroFrom clears everything at and after off.
func (m *image) zeroFrom(off int64) {
	first := off / chunkSize
	if in := off % chunkSize; in != 0 {
		if m.chunkAt(first) != &zeroChunk {
			clear(m.ownChunk(first)[in:])
		}
		first++
	}
	for l := int(first / leafChunks); l < len(m.root); l++ {
		if m.root[l] == nil {
			continue
		}
		from := max(0, first-int64(l)*leafChunks)
		if !slices.ContainsFunc(m.root[l].chunks[from:], func(c *chunk) bool { return c != nil }) {
			continue
		}
		lf := m.ownLeaf(l)
		clear(lf.chunks[from:])
		lf.mine &= 1<<from - 1
	}
}
