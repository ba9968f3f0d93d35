package blocklog

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// request is an entry before it is written.
type request struct {
	off, n int64
	flags  Flags
	data   []byte
}

// encode writes a log as the kernel does.
func encode(sector int64, rs []request) []byte {
	b := make([]byte, sector)
	le.PutUint64(b, magic)
	le.PutUint64(b[8:], version)
	le.PutUint64(b[16:], uint64(len(rs)))
	le.PutUint32(b[24:], uint32(sector))
	for _, r := range rs {
		e := make([]byte, sector)
		le.PutUint64(e, uint64(r.off/sector))
		le.PutUint64(e[8:], uint64(r.n/sector))
		le.PutUint64(e[16:], uint64(r.flags))
		if r.flags&Mark != 0 {
			le.PutUint64(e[24:], uint64(len(r.data)))
			copy(e[entrySize:], r.data)
			b = append(b, e...)
			continue
		}
		b = append(append(b, e...), r.data...)
	}
	return b
}

func read(t *testing.T, b []byte) *Log {
	t.Helper()
	l, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func block(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n*512) }

func TestRead(t *testing.T) {
	for _, sector := range []int64{512, 4096} {
		k := sector / 512
		rs := []request{
			{off: 8 * sector, n: 2 * sector, data: block('a', int(2*k))},
			{flags: Flush},
			{flags: Mark, data: []byte("here")},
			{off: 4 * sector, n: sector, flags: FUA | Metadata, data: block('b', int(k))},
			{off: 16 * sector, n: 1000 * sector, flags: Discard},
			{off: 0, n: sector, flags: Flush | FUA, data: block('c', int(k))},
		}
		l := read(t, encode(sector, rs))
		if l.SectorSize != sector || len(l.Entries) != len(rs) {
			t.Fatalf("%+v", l)
		}
		for i, r := range rs {
			e := l.Entries[i]
			b, err := l.Data(i, nil)
			if err != nil || e.Off != r.off || e.Len != r.n || e.Flags != r.flags || !bytes.Equal(b, r.data) {
				t.Errorf("entry %d: %+v, %d bytes, %v", i, e, len(b), err)
			}
		}
	}
}

func TestReadDamaged(t *testing.T) {
	good := encode(512, []request{{off: 512, n: 1024, data: block('a', 2)}, {flags: Mark, data: []byte("x")}})
	for name, f := range map[string]func(b []byte) []byte{
		"short":          func(b []byte) []byte { return b[:300] },
		"magic":          func(b []byte) []byte { b[0]++; return b },
		"version":        func(b []byte) []byte { b[8]++; return b },
		"sector 0":       func(b []byte) []byte { le.PutUint32(b[24:], 0); return b },
		"sector 513":     func(b []byte) []byte { le.PutUint32(b[24:], 513); return b },
		"entries":        func(b []byte) []byte { le.PutUint64(b[16:], 1<<60); return b },
		"cut":            func(b []byte) []byte { return b[:1100] },
		"flags":          func(b []byte) []byte { le.PutUint64(b[512+16:], 32); return b },
		"inline":         func(b []byte) []byte { le.PutUint64(b[512+24:], 5); return b },
		"far":            func(b []byte) []byte { le.PutUint64(b[512:], 1<<63); return b },
		"long":           func(b []byte) []byte { le.PutUint64(b[512+8:], 1<<40); return b },
		"nothing":        func(b []byte) []byte { le.PutUint64(b[512+8:], 0); return b },
		"mark too long":  func(b []byte) []byte { le.PutUint64(b[2048+24:], 481); return b },
		"mark with data": func(b []byte) []byte { le.PutUint64(b[2048+8:], 1); return b },
	} {
		b := f(bytes.Clone(good))
		if _, err := Read(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: no panic, and nothing outside the log.
func FuzzRead(f *testing.F) {
	f.Add(encode(512, []request{{off: 512, n: 1024, data: block('a', 2)}, {flags: Flush}}))
	f.Add(encode(4096, []request{{flags: Mark, data: []byte("x")}, {off: 0, n: 8192, flags: Discard}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		r := &Replay{Log: l, Window: Window{Off: 512, Len: 1 << 16}, Medium: &memory{b: make([]byte, 1<<16)}}
		for i := range l.Entries {
			if l.Entries[i].Len < 1<<20 {
				if _, err := l.Data(i, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Step(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.b[off:], p), nil }

// TestReplay holds random logs against a plain model of a disk with a cache: every state chosen is
// one the rules allow, a cut right after a flush has one state, and both extremes are right.
func TestReplay(t *testing.T) {
	const size = 32 * 512
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var rs []request
		for i := range 30 {
			n, c := 1+rng.IntN(4), byte(i+1)
			r := request{off: int64(rng.IntN(28)) * 512, n: int64(n) * 512, data: block(c, n)}
			switch rng.IntN(8) {
			case 0:
				r = request{flags: Flush}
			case 1:
				r.flags = FUA
			case 2:
				r.flags, r.data = Discard, nil
			case 3:
				r.flags = Flush
			}
			rs = append(rs, r)
		}
		win := Window{Off: 4 * 512, Len: 20 * 512}
		medium := &memory{b: make([]byte, win.Len)}
		r := &Replay{Log: read(t, encode(512, rs)), Window: win, Medium: medium}
		durable := make([]byte, size)
		maybe := make([][]byte, size/512) // what a sector may hold instead, oldest first
		newest := make([]byte, size)
		for i, q := range rs {
			if q.flags&Flush != 0 {
				copy(durable, newest)
				clear(maybe)
			}
			for s := range q.n / 512 {
				at := q.off/512 + s
				c := byte(0)
				if q.data != nil {
					c = q.data[0]
				}
				maybe[at] = append(maybe[at], c)
				copy(newest[at*512:], block(c, 1))
				if q.flags&FUA != 0 {
					copy(durable[at*512:], block(c, 1))
					maybe[at] = nil
				}
			}
			if err := r.Step(); err != nil {
				t.Fatal(err)
			}
			cs := Choices(r.Pending(), 12, rng)
			if q.flags == Flush && q.n == 0 && (len(cs) != 1 || len(r.Pending()) != 0) {
				t.Fatalf("seed %d: %d states right after a flush", seed, len(cs))
			}
			for k, c := range cs {
				m := &memory{b: bytes.Clone(medium.b)}
				if err := r.Apply(m, c); err != nil {
					t.Fatal(err)
				}
				for s := range win.Len / 512 {
					at := s + win.Off/512
					got := m.b[s*512]
					ok := got == durable[at*512] && k != 1 || k == 1 && got == newest[at*512] ||
						k > 1 && bytes.IndexByte(maybe[at], got) >= 0
					if !ok || !bytes.Equal(m.b[s*512:s*512+512], block(got, 1)) {
						t.Fatalf("seed %d, entry %d, %q: sector %d holds %d; durable %d, maybe %v", seed, i,
							c.Name, at, got, durable[at*512], maybe[at])
					}
				}
			}
		}
	}
}

// TestWhole: what is whole is never torn, everything else is sooner or later.
func TestWhole(t *testing.T) {
	rs := []request{{off: 0, n: 4096, data: block(1, 8)}, {off: 4096, n: 4096, data: block(2, 8)}}
	m := &memory{b: make([]byte, 8192)}
	r := &Replay{Log: read(t, encode(512, rs)), Window: Window{Len: 8192}, Medium: m,
		Whole: func(e Entry) bool { return e.Off == 0 }}
	for range rs {
		if err := r.Step(); err != nil {
			t.Fatal(err)
		}
	}
	torn := [2]int{}
	for _, c := range Choices(r.Pending(), 200, rand.New(rand.NewPCG(1, 1))) {
		m := &memory{b: make([]byte, 8192)}
		if err := r.Apply(m, c); err != nil {
			t.Fatal(err)
		}
		for i := range torn {
			if h := m.b[i*4096 : i*4096+4096]; !bytes.Equal(h, bytes.Repeat(h[:1], 4096)) {
				torn[i]++
			}
		}
	}
	if torn[0] != 0 || torn[1] < 20 {
		t.Errorf("torn: %v", torn)
	}
}
