package untorn

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestWriteWaitsForTheImageItReliesOn is I3 in mode fullpage: a write that logs no image, because one
// of its page has been logged, waits for the log through that image, also where the writer who logged
// it has not sent its pages yet.
func TestWriteWaitsForTheImageItReliesOn(t *testing.T) {
	ctx := t.Context()
	e, f := fullpageFile(t)
	chunkOf := func() *chunk {
		pages := []PageWrite{{No: 3, Data: make([]byte, f.desc.PageSize)}}
		_, lsn, err := e.Append([]byte("a change"))
		if err != nil {
			t.Fatal(err)
		}
		pages[0].LSN = lsn
		c, err := f.claim(pages, nil)
		if err == nil {
			err = f.prepare(ctx, c, pages)
		}
		if err == nil {
			err = f.logImages(f.images.Load(), e.images.gens.now(), c, pages)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := chunkOf(), chunkOf()
	image := first.w.Pages[0].Through
	if !first.w.Pages[0].Imaged || image <= first.w.Pages[0].LSN {
		t.Fatalf("the first write after an open logged no image: through %d", image)
	}
	if second.w.Pages[0].Imaged || second.w.Pages[0].Through < image {
		t.Errorf("the second write, imaged %v, waits for the log through %d; the image it relies on ends at %d",
			second.w.Pages[0].Imaged, second.w.Pages[0].Through, image)
	}
	f.giveBack(first)
	f.giveBack(second)
}

// TestTurnWaitsForWriters: a Checkpoint may let go of images only when no writer is left that relies on
// one from before, which it may not have sent its pages behind.
func TestTurnWaitsForWriters(t *testing.T) {
	e, _ := fullpageFile(t)
	gen := e.images.gens.enter()
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := e.turn(over); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a writer of the generation before is at work, and turn says %v", err)
	}
	// Another turn does not take the bits of its generation away either.
	now := e.images.gens.now()
	if _, err := e.turn(over); !errors.Is(err, context.DeadlineExceeded) || e.images.gens.now() != now {
		t.Fatalf("%v: generation %d, was %d", err, e.images.gens.now(), now)
	}
	e.images.gens.leave(gen)
	if _, err := e.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func fullpageFile(t *testing.T) (*Engine, *File) {
	e, err := Open(t.Context(), Options{Dir: t.TempDir() + "/db", SegmentBytes: 1 << 20, BatchBytes: 64 << 10, Memory: 4 << 20, Backend: "threads"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f, err := e.OpenFile(t.Context(), "table", FileOptions{Create: true, Pages: 8, Mode: ModeFullpage})
	if err != nil {
		t.Fatal(err)
	}
	return e, f
}
