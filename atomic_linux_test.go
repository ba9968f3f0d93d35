package untorn_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn"
)

// xfsLoop mounts a new XFS on a loop device, which takes atomic writes of many blocks by copying on
// write (Linux 6.16), or skips the test.
func xfsLoop(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount an XFS on a loop device")
	}
	mkfs, err := exec.LookPath("mkfs.xfs")
	if err != nil {
		if mkfs, err = exec.LookPath("/usr/sbin/mkfs.xfs"); err != nil {
			t.Skip("no mkfs.xfs")
		}
	}
	dir := t.TempDir()
	img, at := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	if err := errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, 512<<20), os.Mkdir(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{mkfs, "-q", "-f", img}, {"mount", "-o", "loop", img, at}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", c[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	probe := filepath.Join(at, "probe")
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, probe, 0, unix.STATX_WRITE_ATOMIC, &st); err != nil || st.Atomic_write_unit_max < 16384 {
		t.Skipf("atomic writes of 16 KiB: statx says at most %d, %v (Linux 6.16 and reflink are needed)", st.Atomic_write_unit_max, err)
	}
	return at
}

// TestAtomicOnXFS: mode atomic for real, on both backends: hwprobe does not prove a loop device
// (rule 8), named override, RWF_ATOMIC writes, a limit that shrinks under the running engine, and
// what the next open makes of it.
func TestAtomicOnXFS(t *testing.T) {
	at := xfsLoop(t)
	limit := func(s string) {
		t.Helper()
		if err := unix.Mount("", at, "", unix.MS_REMOUNT, "max_atomic_write="+s); err != nil {
			t.Skipf("remount with max_atomic_write=%s: %v", s, err)
		}
	}
	for _, backend := range []string{"auto", "threads"} {
		t.Run("backend="+backend, func(t *testing.T) {
			limit("64k")
			o := small(t)
			o.Dir, o.Backend = filepath.Join(at, backend), backendOf(backend)
			e := open(t, o)
			_, err := e.OpenFile(ctx, "table", untorn.FileOptions{Create: true, Pages: 200, Mode: untorn.ModeAtomic})
			var na *untorn.NotAtomicError
			if !errors.As(err, &na) || na.Verdict.Rule != "8" || na.Verdict.Answer != "unknown" {
				t.Fatalf("%v, want unknown by rule 8", err)
			}
			auto := create(t, e, "auto", untorn.FileOptions{Pages: 20, Mode: untorn.ModeAuto})
			if auto.Protection() != untorn.ModeDoublewrite {
				t.Errorf("auto is %s", auto.Protection())
			}
			f := create(t, e, "table", untorn.FileOptions{Pages: 200, Mode: untorn.ModeAtomic, AtomicOverride: "8"})
			for v := uint64(1); v <= 3; v++ {
				writeVersion(t, e, f, upTo(200), v, untorn.Durable)
			}
			if in := fileInfo(t, e, "table"); in.Refused != 0 || in.Protection != "atomic" || in.Override != "8" {
				t.Fatalf("%+v", in)
			}
			// The limit shrinks while writes are in flight.
			var wg sync.WaitGroup
			under := make(chan struct{}, 4) // a writer has come to where the others still have much to do
			for w := range uint64(4) {
				wg.Go(func() {
					var nos []uint64
					for no := w * 50; no < (w+1)*50; no++ {
						nos = append(nos, no)
					}
					for v := uint64(4); v <= 20; v++ {
						writeVersion(t, e, f, nos, v, untorn.Durable)
						if v == 6 {
							under <- struct{}{}
						}
					}
				})
			}
			<-under
			limit("4k")
			wg.Wait()
			writeVersion(t, e, f, upTo(100), 21, untorn.Protected)
			in := fileInfo(t, e, "table")
			if in.Refused == 0 || in.Protection != "doublewrite" || !strings.Contains(in.Moved, "invalid argument") {
				t.Errorf("%+v", in)
			}
			t.Logf("%d writes refused: %s", in.Refused, in.Moved)
			mustClose(t, e)
			e = open(t, o)
			// The limit stands now, and hwprobe sees it: another rule, which the override does not name.
			_, err = e.OpenFile(ctx, "table", untorn.FileOptions{AtomicOverride: "8"})
			if !errors.As(err, &na) || na.Verdict.Rule != "4" || na.Verdict.Answer != "required" {
				t.Errorf("%v, want required by rule 4", err)
			}
			if f, err = e.OpenFile(ctx, "table", untorn.FileOptions{Mode: untorn.ModeAuto}); err != nil || f.Protection() != untorn.ModeDoublewrite {
				t.Fatal(err)
			}
			for _, no := range upTo(200) {
				want := uint64(20)
				if no < 100 {
					want = 21
				}
				if v := readVersion(t, f, no); v != want {
					t.Errorf("page %d is at version %d, want %d", no, v, want)
				}
			}
			mustClose(t, e)
			limit("64k")
			e = open(t, o)
			if f, err = e.OpenFile(ctx, "table", untorn.FileOptions{AtomicOverride: "8"}); err != nil || f.Protection() != untorn.ModeAtomic {
				t.Fatal(err)
			}
			writeVersion(t, e, f, upTo(200), 50, untorn.Durable)
			mustClose(t, e)
		})
	}
}

// BenchmarkModesOnXFS puts atomic beside none and doublewrite, on an XFS that copies on write
// (-bench ModesOnXFS) or in the directory UNTORN_BENCH_DIR names.
func BenchmarkModesOnXFS(b *testing.B) {
	at := os.Getenv("UNTORN_BENCH_DIR")
	if at == "" {
		at = xfsLoop(b)
	}
	o := small(b)
	o.Dir, o.BatchBytes, o.Memory = filepath.Join(at, "bench"), 1<<20, 32<<20
	e := open(b, o)
	const pages, batch = 4096, 16
	for _, m := range []struct {
		mode untorn.Mode
		over string
	}{{untorn.ModeNone, ""}, {untorn.ModeAtomic, "8"}, {untorn.ModeDoublewrite, ""}} {
		f := create(b, e, string(m.mode), untorn.FileOptions{Pages: pages, Mode: m.mode, AtomicOverride: m.over})
		b.Run("mode="+string(m.mode), func(b *testing.B) {
			var n atomic.Int64
			begun := time.Now()
			var wg sync.WaitGroup
			for w := range 16 {
				wg.Go(func() {
					x := uint64(w)*0x9e3779b97f4a7c15 + 1
					buf := make([]byte, f.PageSize())
					ws := make([]untorn.PageWrite, batch)
					for n.Add(batch) <= int64(b.N)+batch-1 {
						for i := range ws {
							x ^= x << 13
							x ^= x >> 7
							x ^= x << 17
							ws[i] = untorn.PageWrite{No: untorn.PageNo(x % pages), Data: buf}
						}
						if err := f.WritePages(context.Background(), ws, untorn.Durable); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "pages/s")
			if in := fileInfo(b, e, string(m.mode)); in.Refused != 0 {
				b.Error(fmt.Errorf("refused: %s", in.Moved))
			}
		})
	}
}
