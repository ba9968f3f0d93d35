package sim

import "bytes"

// A file's bytes are a persistent array: a root of leaves of chunks, shared between forks and
// copied when written. Forking costs one struct; a state that differs in a page costs that page.
const (
	chunkSize  = 4 << 10
	leafChunks = 64
	leafSize   = chunkSize * leafChunks
)

// token marks what an image may write in place: what carries the image's own token.
type token struct{ _ byte }

type chunk struct {
	own *token
	b   [chunkSize]byte
}

type leaf struct {
	own    *token
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
	lf := m.ownLeaf(int(i / leafChunks))
	c := lf.chunks[i%leafChunks]
	switch {
	case c == nil:
		c = &chunk{own: m.own}
	case c.own != m.own:
		c = &chunk{own: m.own, b: c.b}
	}
	lf.chunks[i%leafChunks] = c
	return c
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
			copy(p[:n], c.b[off%chunkSize:])
		}
		p, off = p[n:], off+int64(n)
	}
}

// writeAt changes bytes; the size is the caller's affair.
func (m *image) writeAt(p []byte, off int64) {
	for len(p) > 0 {
		n := min(len(p), int(chunkSize-off%chunkSize))
		// Bytes that are there already cost no chunk: most of what an engine zeroes or rewrites.
		if at := m.chunkAt(off / chunkSize).b[off%chunkSize:]; !bytes.Equal(at[:n], p[:n]) {
			copy(m.ownChunk(off / chunkSize).b[off%chunkSize:], p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

// view returns bytes without copying them where it can. They stay as they are only as long as the
// image is not written: use it on frozen images.
func (m *image) view(off int64, n int) []byte {
	if at := int(off % chunkSize); at+n <= chunkSize {
		return m.chunkAt(off / chunkSize).b[at : at+n : at+n]
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
			clear(m.ownChunk(first).b[in:])
		}
		first++
	}
	for l := int(first / leafChunks); l < len(m.root); l++ {
		if m.root[l] == nil {
			continue
		}
		from := max(0, first-int64(l)*leafChunks)
		clear(m.ownLeaf(l).chunks[from:])
	}
}
