package untorn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/untorn/untorn"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/sim"
)

// What ends while work is under way: flushes, the engine, contexts.

// TestFlushesOff: a stack that drops flushes is refused, unless told otherwise (I1).
func TestFlushesOff(t *testing.T) {
	d := sim.New(sim.Config{Seed: 1, Mount: fsys.Mount{Type: "ext4", FlushesOff: "barrier=0"}})
	o := onSim(d)
	if err := opened(reopen(o)); !errors.Is(err, untorn.ErrFlushesOff) {
		t.Errorf("open: %v", err)
	}
	o.AllowFlushesOff = true
	mustClose(t, open(t, o))
	o.AllowFlushesOff = false
	d.SetMount(fsys.Mount{Type: "ext4"})
	e := open(t, o)
	d.SetMount(fsys.Mount{Type: "ext4", FlushesOff: "barrier=0"})
	if err := e.Checkpoint(ctx, e.EndLSN(), nil); !errors.Is(err, untorn.ErrFlushesOff) {
		t.Errorf("checkpoint after a remount: %v", err)
	}
}

// TestPoison: after EIO on any durability path nothing more is acknowledged, reads of pages at rest
// go on, and a reopen in the same process finds everything that was acknowledged (I5).
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		name, file string
		kind       ring.Kind
	}{
		{"doublewrite", "dwb", ring.Write}, {"doublewrite flush", "dwb", ring.DataSync},
		{"destination", "data", ring.Write}, {"destination flush", "data", ring.DataSync},
		{"log", "wal", ring.Write}, {"log flush", "wal", ring.DataSync},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := sim.New(sim.Config{Seed: 3})
			o := onSim(d)
			if c.kind == ring.DataSync {
				o.DWBSync = untorn.DWBFlush
			}
			e := open(t, o)
			f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
			writeVersion(t, e, f, upTo(8), 1, untorn.Durable)
			d.Inject(func(op *ring.Op) sim.Fault {
				if op.Kind == c.kind && strings.Contains(op.File.Name(), "/"+c.file) {
					return sim.Fault{Err: syscall.EIO}
				}
				return sim.Fault{}
			})
			b := make([]byte, 4096)
			fill(b, 0, 2)
			_, lsn, err := e.Append([]byte("doomed"))
			if err != nil {
				t.Fatal(err)
			}
			err = f.WritePages(ctx, []untorn.PageWrite{{LSN: lsn, Data: b}}, untorn.Durable)
			if !errors.Is(err, untorn.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("the write: %v", err)
			}
			d.ClearFaults()
			if err := f.WritePages(ctx, []untorn.PageWrite{{No: 3, Data: b}}, untorn.Accepted); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("a later write: %v", err)
			}
			if _, _, err := e.Append([]byte("x")); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("a later append: %v", err)
			}
			if err := e.Checkpoint(ctx, 0, nil); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("a later checkpoint: %v", err)
			}
			if v := readVersion(t, f, 5); v != 1 {
				t.Errorf("a page at rest has version %d", v)
			}
			r := []untorn.PageRead{{No: 0, Data: make([]byte, 4096)}}
			if err := f.ReadPages(ctx, r); err != nil && (!errors.Is(err, untorn.ErrPoisoned) || !errors.Is(r[0].Err, syscall.EIO)) {
				t.Errorf("the page that was being written: %v", err)
			}
			if err := e.Close(ctx); !errors.Is(err, untorn.ErrPoisoned) {
				t.Errorf("close: %v", err)
			}
			if n := e.Stats().Memory.InUse; n != 0 {
				t.Errorf("%d bytes of page memory were not given back", n)
			}
			e, err = reopen(o)
			if err != nil {
				t.Fatalf("reopen: %v", err)
			}
			if e.Report().Clean {
				t.Error("the poisoned directory counts as clean")
			}
			f, err = e.OpenFile(ctx, "table", untorn.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for no := range uint64(8) {
				if v := readVersion(t, f, no); v < 1 || v > 2 || no > 0 && v != 1 {
					t.Errorf("page %d has version %d", no, v)
				}
			}
			writeVersion(t, e, f, upTo(8), 9, untorn.Durable)
			mustClose(t, e)
		})
	}
}

// TestCancelledContexts: waiting stops, what was accepted goes on, and the error says so.
func TestCancelledContexts(t *testing.T) {
	d := sim.New(sim.Config{Seed: 4})
	o := onSim(d)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
	d.Inject(func(op *ring.Op) sim.Fault {
		return sim.Fault{Hold: op.Kind == ring.Write && strings.Contains(op.File.Name(), "/data/")}
	})
	b := make([]byte, 4096)
	fill(b, 1, 5)
	p, err := f.WritePagesAsync(ctx, []untorn.PageWrite{{No: 1, Data: b}}, untorn.Durable)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var ue *untorn.Error
	if err := p.Wait(gone); !errors.Is(err, context.Canceled) || !errors.As(err, &ue) || !ue.MayBecomeDurable {
		t.Errorf("wait: %v", err)
	}
	if err := f.Sync(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("sync: %v", err)
	}
	if err := e.Checkpoint(gone, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("checkpoint: %v", err)
	}
	if v := readVersion(t, f, 1); v != 5 {
		t.Errorf("the accepted page reads as version %d", v)
	}
	d.ClearFaults()
	d.Release(nil)
	if err := p.Wait(ctx); err != nil {
		t.Errorf("waiting again: %v", err)
	}
	if _, err := untorn.Open(gone, onSim(sim.New(sim.Config{}))); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	if err := f.Grow(gone, 100); !errors.Is(err, context.Canceled) || f.Pages() != 8 {
		t.Errorf("grow: %v, %d pages", err, f.Pages())
	}
	if _, err := e.OpenFile(gone, "other", untorn.FileOptions{Create: true, Pages: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
	if n := len(dirFiles(t, d, "/db/data")); n != 1 {
		t.Errorf("%d data files after a cancelled create", n)
	}
	mustClose(t, e)
}

// TestCloseDuringLoad: every call either succeeds or is ErrClosed, and what succeeded is there.
func TestCloseDuringLoad(t *testing.T) {
	o := small(t)
	e := open(t, o)
	f := create(t, e, "table", untorn.FileOptions{Pages: 32, PageSize: 4096})
	var acked [32]uint64
	var wg sync.WaitGroup
	started := make(chan struct{}, 32)
	for no := range uint64(32) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := make([]byte, 4096)
			for v := uint64(1); ; v++ {
				fill(b, no, v)
				err := f.WritePages(ctx, []untorn.PageWrite{{No: untorn.PageNo(no), Data: b}}, untorn.Level(no%2))
				if errors.Is(err, untorn.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked[no] = v
				if v == 3 {
					started <- struct{}{}
				}
			}
		}()
	}
	for range 32 {
		<-started
	}
	mustClose(t, e)
	wg.Wait()
	e = open(t, o)
	f, err := e.OpenFile(ctx, "table", untorn.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for no := range uint64(32) {
		if v := readVersion(t, f, no); v != acked[no] {
			t.Errorf("page %d has version %d, %d was acknowledged", no, v, acked[no])
		}
	}
}

// TestEveryCallAfterPoison: whatever needs the engine to go on says ErrPoisoned, with the cause.
func TestEveryCallAfterPoison(t *testing.T) {
	for _, kind := range []ring.Kind{ring.Write, ring.DataSync} {
		for _, file := range []string{"data", "wal", "super"} {
			t.Run(fmt.Sprintf("%v of %s", kind, file), func(t *testing.T) {
				d := sim.New(sim.Config{Seed: 3})
				e := open(t, onSim(d))
				f := create(t, e, "table", untorn.FileOptions{Pages: 8, PageSize: 4096})
				writeVersion(t, e, f, upTo(8), 1, untorn.Durable)
				_, lsn, err := e.AppendSync(ctx, []byte("before"))
				if err != nil {
					t.Fatal(err)
				}
				hold, err := e.Hold("follower", 0)
				if err != nil {
					t.Fatal(err)
				}
				sub, err := e.Subscribe(ctx, untorn.SubscribeOptions{Name: "reader", From: lsn})
				if err != nil {
					t.Fatal(err)
				}
				d.Inject(func(op *ring.Op) sim.Fault {
					if op.Kind == kind && strings.Contains(op.File.Name(), "/"+file) {
						return sim.Fault{Err: syscall.EIO}
					}
					return sim.Fault{}
				})
				b := make([]byte, 4096)
				fill(b, 3, 2)
				one := []untorn.PageWrite{{No: 3, Data: b}}
				_, last, err := e.Append([]byte("doomed"))
				if err != nil {
					t.Fatal(err)
				}
				one[0].LSN = last
				pending, err := f.WritePagesAsync(ctx, one, untorn.Durable)
				if err != nil && !errors.Is(err, untorn.ErrPoisoned) { // the log may have failed by now
					t.Fatal(err)
				}
				if file == "super" {
					_ = e.Checkpoint(ctx, lsn, nil)
				}
				wait := func() error { return nil }
				if pending != nil {
					wait = func() error { return pending.Wait(ctx) }
				}
				_ = wait()
				d.ClearFaults()
				if err := e.Err(); !errors.Is(err, untorn.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("not poisoned: %v", err)
				}
				for name, call := range map[string]func() error{
					"append":         func() error { _, _, err := e.Append([]byte("x")); return err },
					"append batch":   func() error { _, err := e.AppendBatch([][]byte{[]byte("x")}, nil); return err },
					"append sync":    func() error { _, _, err := e.AppendSync(ctx, []byte("x")); return err },
					"write":          func() error { return f.WritePages(ctx, []untorn.PageWrite{{Data: b}}, untorn.Accepted) },
					"sync":           func() error { return f.Sync(ctx) },
					"grow":           func() error { return f.Grow(ctx, 16) },
					"checkpoint":     func() error { return e.Checkpoint(ctx, lsn, nil) },
					"truncate after": func() error { return e.TruncateAfter(ctx, lsn) },
					"create": func() error {
						_, err := e.OpenFile(ctx, "new", untorn.FileOptions{Create: true, PageSize: 4096, Pages: 1})
						return err
					},
					"rename": func() error { return e.Rename(ctx, "table", "other") },
					"remove": func() error { return e.Remove(ctx, "table") },
					"backup": func() error { _, err := e.Backup(ctx, "/backup", untorn.BackupOptions{}); return err },
					"async": func() error {
						p, err := f.WritePagesAsync(ctx, []untorn.PageWrite{{Data: b}}, untorn.Accepted)
						if err == nil {
							err = p.Wait(ctx)
						}
						return err
					},
				} {
					if err := call(); !errors.Is(err, untorn.ErrPoisoned) || !errors.Is(err, syscall.EIO) {
						t.Errorf("%s: %v", name, err)
					}
				}
				// What is only sometimes impossible: either it goes well, or it says so.
				for name, call := range map[string]func() error{
					"the write":    wait,
					"wait durable": func() error { return e.WaitDurable(ctx, last) },
					"commit":       func() error { return e.Commit(ctx, last) },
					"wait before":  func() error { return e.WaitDurable(ctx, lsn) },
					"read":         func() error { return f.ReadPages(ctx, []untorn.PageRead{{No: 3, Data: make([]byte, 4096)}}) },
					"next":         func() error { _, err := sub.Next(ctx); return err },
					"next but one": func() error { _, err := sub.Next(ctx); return err },
					"read at":      func() error { _, err := e.ReadAt(ctx, lsn); return err },
					"advance":      func() error { return hold.Advance(lsn) },
					"hold":         func() error { _, err := e.Hold("late", 0); return err },
					"status":       func() error { _, err := e.Status(ctx, last); return err },
				} {
					if err := call(); err != nil && !errors.Is(err, untorn.ErrPoisoned) {
						t.Errorf("%s: %v", name, err)
					}
				}
				sub.Close()
				hold.Release()
				if err := e.Close(ctx); !errors.Is(err, untorn.ErrPoisoned) {
					t.Errorf("close: %v", err)
				}
			})
		}
	}
}
