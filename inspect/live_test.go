package inspect

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/untorn/untorn"
)

// TestLive looks at a directory whose engine works as hard as it can: nothing may be reported that
// is only a picture of something moving.
func TestLive(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	dir := filepath.Join(t.TempDir(), "d")
	e, err := untorn.Open(ctx, testOptions(dir))
	must(t, err)
	f, err := e.OpenFile(ctx, "main", untorn.FileOptions{Create: true, PageSize: testPage, Pages: 64})
	must(t, err)
	var wg sync.WaitGroup
	due := make(chan struct{}, 1) // a checkpoint
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, lsn, err := e.Append(fill(text("main", w, i))[:700])
				if err == nil {
					no := untorn.PageNo(3*(i%20) + w)
					p := []untorn.PageWrite{{No: no, LSN: lsn, Data: fill(text("main", int(no), i))}, {No: no + 3, LSN: lsn, Data: fill("x")}}
					err = f.WritePages(context.Background(), p, untorn.Level(i%2))
				}
				if err != nil {
					t.Error(err)
					return
				}
				if i%10 == 9 {
					select {
					case due <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-due:
			case <-ctx.Done():
				return
			}
			if err := e.Checkpoint(context.Background(), e.DurableLSN(), []byte("live")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		d := look(t, dir)
		v, err := d.Verify(t.Context(), nil)
		must(t, err)
		if !v.OK || !v.InUse {
			t.Errorf("verify: %+v", v)
		}
		s, err := d.DumpDWB(t.Context())
		must(t, err)
		if !s.OK {
			t.Errorf("inspect: %q", s.Problems)
		}
		_, err = d.DumpWAL(t.Context(), WALFilter{}, func(*Record) error { return nil })
		must(t, err)
	}
	stop()
	wg.Wait()
	must(t, e.Close(t.Context()))
}
