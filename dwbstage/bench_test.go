package dwbstage

import (
	"context"
	"fmt"
	"testing"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
)

// readyRing completes everything at once: what is left is the stage's own work.
type readyRing struct{ fakeRing }

func (*readyRing) Submit(ops ...*ring.Op) {
	for _, op := range ops {
		op.Err = nil
		op.Done <- op
	}
}

// BenchmarkStage is pages on their way through the stage, with a drive that takes no time: from the
// inbox into batches, header, copy, flush, and on to the destination stage.
func BenchmarkStage(b *testing.B) {
	const pageBytes = 16384
	for _, pages := range []int{1, 64} {
		b.Run(fmt.Sprintf("pages=%d/bytes=%d", pages, pageBytes), func(b *testing.B) {
			cfg := Config{
				Ring: &readyRing{}, File: fakeFile{}, Geometry: Geometry{Block: 4096, Batch: 1 << 20, Regions: 6}, Epoch: 1,
				InFlight: 4, Unsynced: 2, Direct: 2, Inbox: 64, Log: &fakeLog{}, Frames: &fakeFrames{}, Poison: stages.NewPoison(),
			}
			s, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			out := make(chan stages.Msg, 64)
			s.Connect(out, make(chan uint64, 1))
			var g stages.Group
			g.Go("doublewrite", func() { s.Run(context.Background()) })
			done := make(chan struct{})
			go func() { // the rest of the pipeline
				defer close(done)
				for m := range out {
					if m.Batch != nil {
						s.Credits() <- stages.Credit{Batch: m.Batch}
					}
				}
			}()
			f := &stages.File{ID: 1, Name: "a", PageSize: pageBytes, Format: page.Native{}, Doublewrite: true}
			taken := make(chan struct{}, 1)
			w := &stages.Write{File: f, Pages: make([]stages.PageWrite, pages), Taken: taken}
			buf := make([]byte, pageBytes)
			no := page.No(0)
			b.ReportAllocs()
			for b.Loop() {
				for i := range w.Pages {
					no++
					w.Pages[i] = stages.PageWrite{No: no, CRC: 1, Frame: aligned.Frame{Buf: buf}}
				}
				s.Stamp(w)
				s.Inbox() <- stages.Msg{Write: w}
				<-taken
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pages), "ns/page")
			s.Stop()
			g.Wait()
			close(out)
			<-done
		})
	}
}

// BenchmarkHeader is a batch's header, made and checked.
func BenchmarkHeader(b *testing.B) {
	g := Geometry{Block: 4096, Batch: 1 << 20, Regions: 6}
	h := &Header{Seq: reclaim.Seq{Epoch: 1, Num: 7}, Region: 0}
	for i := range 64 {
		h.Slots = append(h.Slots, Slot{Page: page.ID{File: 1, No: page.No(i)}, LSN: 9, CRC: uint32(i), Len: 16384})
	}
	block := make([]byte, g.Block)
	b.Run("op=encode/slots=64", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Encode(block, g)
		}
	})
	b.Run("op=decode/slots=64", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(block, g, EngineID{}, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
