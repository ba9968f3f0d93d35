package recovery

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
)

// BenchmarkScan reads a doublewrite file as an open after a crash does: every header, every region,
// every slot's checksum. Beside it plain reads of the same bytes: what the drive allows.
func BenchmarkScan(b *testing.B) {
	const pageBytes = 16384
	for _, regions := range []int{6, 64} {
		in := scanInput(b, dwbstage.Geometry{Block: 4096, Batch: 1 << 20, Regions: regions}, pageBytes)
		g := in.Geometry
		name := fmt.Sprintf("regions=%d/batch=%d/page=%d", regions, g.Batch, pageBytes)
		b.Run("op=scan/"+name, func(b *testing.B) {
			b.SetBytes(g.FileBytes())
			for b.Loop() {
				ev, err := Scan(context.Background(), in)
				if err != nil || len(ev.heads) != regions {
					b.Fatal(ev, err)
				}
			}
		})
		b.Run("op=read/"+name, func(b *testing.B) {
			buf := aligned.Alloc(int(g.RegionBytes()), g.Block)
			b.SetBytes(g.FileBytes())
			for b.Loop() {
				for i := range regions {
					if err := in.Ring.Do(&ring.Op{Kind: ring.Read, File: in.DWB, Off: g.RegionOffset(i), Buf: buf}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// scanInput writes a doublewrite file whose regions are all in use.
func scanInput(b *testing.B, g dwbstage.Geometry, pageBytes int) Input {
	r, err := ring.New(ring.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	f, err := fsys.OS().Open(filepath.Join(b.TempDir(), "dwb"), fsys.OpenFlags{Create: true, Direct: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	if err := f.Preallocate(0, g.FileBytes()); err != nil {
		b.Fatal(err)
	}
	buf := aligned.Alloc(int(g.RegionBytes()), g.Block)
	for i := range g.Regions {
		h := dwbstage.Header{Region: i, Seq: reclaim.Seq{Epoch: 1, Num: uint64(i + 1)}}
		for k := range g.Batch / pageBytes {
			img := buf[g.SlotsOffset()+k*pageBytes:][:pageBytes]
			no := page.No(i*g.Batch/pageBytes + k)
			crc := page.Native{}.Seal(img, page.Seed{Incarnation: 1, No: no}, 1)
			h.Slots = append(h.Slots, dwbstage.Slot{Page: page.ID{File: 1, No: no}, LSN: 1, CRC: crc, Len: uint32(pageBytes)})
		}
		for _, at := range g.HeaderOffsets() {
			h.Encode(buf[at:at+g.Block], g)
		}
		if err := r.Do(&ring.Op{Kind: ring.Write, File: f, Off: g.RegionOffset(i), Buf: buf}); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Do(&ring.Op{Kind: ring.Sync, File: f}); err != nil {
		b.Fatal(err)
	}
	return Input{Ring: r, DWB: f, Geometry: g}
}
