package walstage

import (
	"errors"
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/ring"
)

// forge writes groups onto a fake disk by hand, with whatever their headers should say.
type forge struct {
	t     *testing.T
	d     *fakeDisk
	o     Options
	seg   uint64
	off   int64
	first page.LSN
	chain uint32
	made  []forged
}

type forged struct {
	name string // of the segment file
	off  int64
	lsn  page.LSN
	size int64
}

func newForge(t *testing.T) *forge {
	d := newFakeDisk()
	f := &forge{t: t, d: d, o: small(d).withDefaults(), seg: 1, off: 4096}
	if err := Create(bg, f.o, 1); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *forge) file(seq uint64) *inode { return f.d.names["wal/"+segmentName(seq)] }

// add writes the next group, of one record that fills the given number of blocks, and claims that
// the log was durable through the given LSN when it was written.
func (f *forge) add(epoch uint64, blocks int, durable page.LSN) forged {
	h := groupHeader{id: f.o.EngineID, epoch: epoch, seq: f.seg, off: uint64(f.off),
		lsn: f.first + page.LSN(f.off), prev: f.chain, durable: durable}
	h, b := whole(h, record(len(f.made), blocks*4096-groupHeaderSize-frameSize-50))
	copy(f.file(f.seg).data[f.off:], b)
	g := forged{segmentName(f.seg), f.off, h.lsn, int64(h.length)}
	f.made = append(f.made, g)
	f.chain = h.crc
	f.off += int64(h.length)
	return g
}

// next goes on in a new segment.
func (f *forge) next(epoch uint64) {
	f.first += page.LSN(f.o.SegmentBytes)
	f.seg, f.off = f.seg+1, 4096
	s, err := createSegment(bg, &f.o, f.seg, f.first, epoch, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	s.file.Close()
}

// harm changes bytes of a group: from is relative to it, zeros instead of a flip if zero.
func (f *forge) harm(g forged, from, n int64, zero bool) {
	in := f.d.names["wal/"+g.name]
	for i := g.off + from; i < g.off+from+n; i++ {
		if zero {
			in.data[i] = 0
		} else {
			in.data[i] ^= 0x5a
		}
	}
}

func (f *forge) unreadable(name string, off int64) {
	f.d.setHook(func(op *ring.Op, file string) error {
		if op.Kind == ring.Read && file == name && op.Off <= off && off < op.Off+int64(op.Len()) {
			return errMedium
		}
		return nil
	})
}

var errMedium = errors.New("medium error")

// TestTailOrCorruption walks the cases of I10 over real bytes.
func TestTailOrCorruption(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(f *forge) Evidence
		end   int // number of groups that count; -1 = corrupt
		check func(t *testing.T, f *forge, tail *Tail, err *CorruptError)
	}{
		{"empty log", func(f *forge) Evidence { return Evidence{} }, 0, nil},
		{"whole log", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.add(1, 3, 0)
			return Evidence{}
		}, 2, func(t *testing.T, f *forge, tail *Tail, _ *CorruptError) {
			if tail.Beyond != 2 || tail.Durable != 0 {
				t.Errorf("nothing is proven, yet: %+v", tail)
			}
		}},
		{"torn last group, no evidence", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.harm(f.add(1, 3, 0), 8192, 4096, true)
			return Evidence{}
		}, 1, nil},
		{"torn last group, super knows better", func(f *forge) Evidence {
			f.add(1, 1, 0)
			g := f.add(1, 3, 0)
			f.harm(g, 8192, 4096, true)
			return Evidence{Known: []Claim{{1, g.lsn + 1, "super"}}}
		}, -1, func(t *testing.T, f *forge, _ *Tail, err *CorruptError) {
			g := f.made[1]
			if err.Evidence.Source != "super" || err.LSN != g.lsn || err.Offset != g.off ||
				err.Segment != g.name || err.Epoch != 1 || err.IntactAfter != 0 {
				t.Errorf("%#v", err)
			}
		}},
		{"torn last group, evidence through the one before", func(f *forge) Evidence {
			f.add(1, 1, 0)
			g := f.add(1, 3, 0)
			f.harm(g, 8192, 4096, true)
			return Evidence{Known: []Claim{{1, g.lsn, "super"}}}
		}, 1, func(t *testing.T, f *forge, tail *Tail, _ *CorruptError) {
			if tail.Beyond != 0 {
				t.Errorf("%+v", tail)
			}
		}},
		{"torn group before whole ones in flight with it", func(f *forge) Evidence {
			a := f.add(1, 1, 0)
			b := f.add(1, 2, a.lsn+100)
			f.add(1, 1, a.lsn+100)
			f.add(1, 1, b.lsn) // durable through the end of a
			f.harm(b, 4096, 4096, true)
			return Evidence{}
		}, 1, func(t *testing.T, f *forge, tail *Tail, _ *CorruptError) {
			if tail.Discarded != 4*4096 || tail.Beyond != 0 {
				t.Errorf("%+v", tail)
			}
		}},
		{"rotten group, a later header knows it was durable", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			f.add(1, 1, 0)
			f.add(1, 1, b.lsn+200)
			f.harm(b, 5000, 1, false)
			return Evidence{}
		}, -1, func(t *testing.T, f *forge, _ *Tail, err *CorruptError) {
			if err.IntactAfter != f.made[2].lsn || err.LSN != f.made[1].lsn {
				t.Errorf("%#v", err)
			}
		}},
		{"the later header's own payload is torn", func(f *forge) Evidence {
			b := f.add(1, 2, 0)
			c := f.add(1, 2, b.lsn+200)
			f.harm(b, 0, 112, true)
			f.harm(c, 4096, 4096, true)
			return Evidence{}
		}, -1, nil},
		{"the later header is in the next segment", func(f *forge) Evidence {
			b := f.add(1, 2, 0)
			f.next(1)
			f.add(1, 2, b.lsn+200)
			f.harm(b, 300, 1, false)
			return Evidence{}
		}, -1, nil},
		{"the later header is in a segment whose header is bad", func(f *forge) Evidence {
			b := f.add(1, 2, 0)
			f.next(1)
			f.add(1, 2, b.lsn+200)
			f.harm(b, 300, 1, false)
			clear(f.file(2).data[:4096])
			return Evidence{}
		}, -1, nil},
		{"an older life of the segment behind the end", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.seg = 9
			f.d.names["wal/"+segmentName(9)] = f.file(1)
			f.chain, f.first = 0, 1<<20
			f.add(1, 1, 1<<20)
			delete(f.d.names, "wal/"+segmentName(9))
			return Evidence{}
		}, 1, nil},
		{"an older epoch's group behind the end", func(f *forge) Evidence {
			a := f.add(2, 1, 0)
			f.off += 4096 // torn group
			f.add(1, 1, a.lsn+8192)
			return Evidence{}
		}, 1, nil},
		{"an older epoch's group right at the end", func(f *forge) Evidence {
			f.add(2, 1, 0)
			f.add(1, 1, 0)
			return Evidence{}
		}, 1, nil},
		{"a group of another chain", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.chain++
			f.add(1, 1, 0)
			return Evidence{}
		}, 1, nil},
		{"a copy of a group in another place", func(f *forge) Evidence {
			g := f.add(1, 1, 0)
			in := f.file(1)
			copy(in.data[g.off+4096:], in.data[g.off:g.off+4096])
			return Evidence{}
		}, 1, nil},
		{"padding is not zero", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.harm(f.add(1, 1, 0), 4090, 1, false)
			return Evidence{}
		}, 1, nil},
		{"a later epoch follows", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.add(4, 1, 0)
			return Evidence{Known: []Claim{{4, 0, "super"}}}
		}, 2, nil},
		{"an older epoch claimed more", func(f *forge) Evidence {
			g := f.add(3, 1, 0)
			return Evidence{Known: []Claim{{2, g.lsn + 9000, "super"}}}
		}, 1, func(t *testing.T, f *forge, tail *Tail, _ *CorruptError) {
			if tail.Beyond != 1 {
				t.Error("an older epoch's claim proves nothing about a newer one's group")
			}
		}},
		{"a newer epoch claims more", func(f *forge) Evidence {
			g := f.add(3, 1, 0)
			return Evidence{Known: []Claim{{4, g.lsn + 9000, "a page"}}}
		}, -1, nil},
		{"the start lies beyond the end", func(f *forge) Evidence {
			g := f.add(3, 1, 0)
			return Evidence{Start: g.lsn + 4097}
		}, -1, nil},
		{"no segment holds the start", func(f *forge) Evidence {
			return Evidence{Start: 1 << 30}
		}, -1, nil},
		{"the first segment's header is rotten", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.file(1).data[40] ^= 1
			return Evidence{}
		}, -1, nil},
		{"damage before the start", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			c := f.add(1, 2, b.lsn+100)
			f.add(1, 1, c.lsn+100)
			f.harm(b, 200, 1, false)
			return Evidence{Start: c.lsn + 200, Known: []Claim{{1, c.lsn + 300, "super"}}}
		}, 4, nil},
		{"a damaged header before the start", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			c := f.add(1, 2, b.lsn+100)
			f.harm(b, 20, 1, false)
			return Evidence{Start: c.lsn, Known: []Claim{{1, c.lsn + 300, "super"}}}
		}, 3, nil},
		{"damage where the start is", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			f.add(1, 2, 0)
			f.harm(b, 200, 1, false)
			return Evidence{Start: b.lsn + 4096}
		}, -1, nil},
		{"a read error before the start", func(f *forge) Evidence {
			a := f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			f.unreadable(a.name, a.off)
			return Evidence{Start: b.lsn}
		}, 2, nil},
		{"a read error is no torn record", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			f.unreadable(b.name, b.off+4096)
			return Evidence{}
		}, -1, func(t *testing.T, f *forge, _ *Tail, err *CorruptError) {
			if !errors.Is(err, errMedium) || err.Evidence.Source != "" || err.LSN != f.made[1].lsn {
				t.Errorf("%#v", err)
			}
		}},
		{"a read error that goes away", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			left := 4 // three that read ahead, and that of the group itself
			f.d.setHook(func(op *ring.Op, name string) error {
				at := b.off + 4096
				if left > 0 && op.Kind == ring.Read && op.Off <= at && at < op.Off+int64(op.Len()) {
					left--
					return errMedium
				}
				return nil
			})
			return Evidence{}
		}, -1, nil},
		{"a misplaced group in a segment whose header is bad", func(f *forge) Evidence {
			b := f.add(1, 2, 0)
			f.next(1)
			f.add(1, 1, b.lsn+200)
			f.harm(b, 300, 1, false)
			data := f.file(2).data
			copy(data[8192:], data[4096:8192])
			clear(data[:8192])
			return Evidence{}
		}, 0, nil},
		{"a read error behind the torn tail", func(f *forge) Evidence {
			f.add(1, 1, 0)
			b := f.add(1, 2, 0)
			f.harm(b, 200, 1, false)
			f.unreadable(b.name, b.off+5*4096)
			return Evidence{}
		}, -1, func(t *testing.T, f *forge, _ *Tail, err *CorruptError) {
			if !errors.Is(err, errMedium) {
				t.Errorf("%#v", err)
			}
		}},
		{"a switch of segments", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.next(1)
			f.add(1, 1, 0)
			f.next(1)
			f.add(2, 1, 0)
			return Evidence{}
		}, 3, nil},
		{"a successor in the next segment that is torn", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.next(1)
			g := f.add(1, 2, 0)
			f.harm(g, 4096, 4096, true)
			return Evidence{Known: []Claim{{1, g.lsn + 300, "super"}}}
		}, -1, func(t *testing.T, f *forge, _ *Tail, err *CorruptError) {
			if err.Segment != f.made[1].name || err.Offset != 4096 || err.LSN != f.made[1].lsn {
				t.Errorf("%#v", err)
			}
		}},
		{"name and header of the next segment disagree", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.next(1)
			f.add(1, 1, 0)
			f.d.names["wal/"+segmentName(3)] = f.file(2)
			delete(f.d.names, "wal/"+segmentName(2))
			return Evidence{}
		}, 1, nil},
		{"the same, but evidence says otherwise", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.next(1)
			g := f.add(1, 1, 0)
			f.d.names["wal/"+segmentName(3)] = f.file(2)
			delete(f.d.names, "wal/"+segmentName(2))
			return Evidence{Known: []Claim{{1, g.lsn + 300, "super"}}}
		}, -1, nil},
		{"a segment is missing", func(f *forge) Evidence {
			f.add(1, 1, 0)
			f.next(1)
			g := f.add(1, 1, 0)
			f.next(1)
			f.add(1, 1, g.lsn+300)
			delete(f.d.names, "wal/"+segmentName(2))
			return Evidence{}
		}, -1, nil},
		{"the segment file is cut, no evidence", func(f *forge) Evidence {
			f.add(1, 1, 0)
			g := f.add(1, 3, 0)
			f.file(1).data = f.file(1).data[:g.off+4096+77]
			return Evidence{}
		}, 1, nil},
		{"the segment file is cut, evidence", func(f *forge) Evidence {
			f.add(1, 1, 0)
			g := f.add(1, 3, 0)
			f.file(1).data = f.file(1).data[:g.off+4096]
			return Evidence{Known: []Claim{{1, g.lsn + 300, "super"}}}
		}, -1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newForge(t)
			ev := c.build(f)
			d, err := OpenDir(bg, f.o, false)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			tail, err := d.Scan(bg, ev)
			var ce *CorruptError
			if c.end < 0 {
				if !errors.As(err, &ce) || !errors.Is(err, ErrCorrupt) {
					t.Fatalf("tail %+v, error %v; want corruption", tail, err)
				}
				if err.Error() == "" || ce.Dir != "wal" {
					t.Errorf("%#v", ce)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				end := page.LSN(4096)
				if c.end > 0 {
					g := f.made[c.end-1]
					end = g.lsn + page.LSN(g.size)
				}
				if tail.End != end {
					t.Fatalf("the log ends at %d (%v), want %d", tail.End, tail.Reason, end)
				}
				for _, err := range d.Replay(bg, ev.Start) {
					if err != nil {
						t.Errorf("replay of what was found: %v", err)
					}
				}
			}
			if c.check != nil {
				c.check(t, f, tail, ce)
			}
		})
	}
}

// TestCleanNeedsAgreement: the clean flag counts only if the log ends exactly where super says.
func TestCleanNeedsAgreement(t *testing.T) {
	f := newForge(t)
	g := f.add(1, 1, 0)
	end := g.lsn + page.LSN(g.size)
	for _, c := range []struct {
		lsn   page.LSN
		clean bool
	}{{g.lsn, false}, {g.lsn + 200, false}, {end - 50, true}, {end, true}} {
		d, tail := scan(t, f.o, Evidence{Known: []Claim{{1, c.lsn, "super"}}, Clean: true})
		if tail.Clean != c.clean {
			t.Errorf("super says %d, the log ends at %d (%d): clean %v", c.lsn, tail.Last, end, tail.Clean)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestForeignLog(t *testing.T) {
	f := newForge(t)
	f.o.EngineID[3]++
	d, err := OpenDir(bg, f.o, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Scan(bg, Evidence{}); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

func TestWatermarkIsCarried(t *testing.T) {
	d := newFakeDisk()
	l := newLog(t, small(d))
	l.SetWatermark(Watermark{2, 5})
	l.SetWatermark(Watermark{2, 3}) // never back
	mustAppend(t, l, "x")
	mustClose(t, l)
	dir, tail := scan(t, small(d), Evidence{})
	defer dir.Close()
	if tail.Mark != (Watermark{2, 5}) {
		t.Errorf("%+v", tail.Mark)
	}
}
