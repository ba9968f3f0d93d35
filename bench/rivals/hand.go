//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/untorn/untorn/aligned"
)

const block = 4096

func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// zeroed returns a file of n zero bytes that are on the medium, open for direct I/O.
func zeroed(name string, n int64) (*os.File, error) {
	return written(name, n, unix.O_DIRECT)
}

// written is zeroed with the flags of open(2) that are asked for.
func written(name string, n int64, flags int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	buf := aligned.Alloc(1<<20, block)
	for off := int64(0); off < n; off += int64(len(buf)) {
		if _, err := f.WriteAt(buf, off); err != nil {
			return nil, err
		}
	}
	return f, f.Sync()
}

// handLog is what a careful person writes in an afternoon: groups of whole blocks with a header and a
// CRC, one DSYNC write each, round and round in one file.
type handLog struct {
	f   *os.File
	buf []byte
	off int64
	end int64
}

func openHandLog(dir string, _ *load) (contender, error) {
	const size = 256 << 20
	f, err := zeroed(filepath.Join(dir, "log"), size)
	if err != nil {
		return nil, err
	}
	return newQueue(&handLog{f: f, buf: aligned.Alloc(1<<20, block), end: size}, 512), nil
}

func (h *handLog) commitAll(jobs []*job) error {
	n := 16
	for _, j := range jobs {
		binary.LittleEndian.PutUint32(h.buf[n:], uint32(len(j.vals[0])))
		n += 4 + copy(h.buf[n+4:], j.vals[0])
	}
	whole := (n + block - 1) / block * block
	clear(h.buf[n:whole])
	binary.LittleEndian.PutUint64(h.buf, uint64(n))
	binary.LittleEndian.PutUint32(h.buf[8:], crc32.Checksum(h.buf[16:n], crc32.MakeTable(crc32.Castagnoli)))
	if h.off+int64(whole) > h.end {
		h.off = 0
	}
	got, err := unix.Pwritev2(int(h.f.Fd()), [][]byte{h.buf[:whole]}, h.off, unix.RWF_DSYNC)
	if err == nil && got != whole {
		err = fmt.Errorf("short write of %d bytes", got)
	}
	h.off += int64(whole)
	return err
}

func (h *handLog) close() error { return h.f.Close() }

// plain is batched doublewrite without a pipeline: all copies, flush, all pages, flush.
type plain struct {
	dwb, dst *os.File
	bytes    int
	buf      []byte
	seen     map[uint64][]byte
}

func openPlain(dir string, l *load) (contender, error) {
	dwb, err := zeroed(filepath.Join(dir, "dwb"), 16<<20)
	if err != nil {
		return nil, err
	}
	dst, err := zeroed(filepath.Join(dir, "pages"), int64(l.pages)*int64(l.bytes))
	if err != nil {
		return nil, err
	}
	p := &plain{dwb: dwb, dst: dst, bytes: l.bytes, buf: aligned.Alloc(8<<20, block), seen: map[uint64][]byte{}}
	return newQueue(p, min(256, len(p.buf)/l.bytes-l.batch-1)), nil
}

func (p *plain) commitAll(jobs []*job) error {
	at, nos := p.bytes, make([]uint64, 0, 64) // the first page is the header's
	for k, v := range lastOf(jobs, p.seen) {
		binary.LittleEndian.PutUint64(p.buf[8*len(nos):], k)
		at += copy(p.buf[at:], v)
		nos = append(nos, k)
	}
	if _, err := p.dwb.WriteAt(p.buf[:at], 0); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(p.dwb.Fd())); err != nil {
		return err
	}
	errs := make(chan error, len(nos))
	const depth = 32
	var wg sync.WaitGroup
	for w := range depth {
		wg.Go(func() {
			for i := w; i < len(nos); i += depth {
				if _, err := p.dst.WriteAt(p.buf[(1+i)*p.bytes:(2+i)*p.bytes], int64(nos[i])*int64(p.bytes)); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	return unix.Fdatasync(int(p.dst.Fd()))
}

func (p *plain) close() error { return closeAll(p.dwb.Close, p.dst.Close) }

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// deviceOf is the "major:minor" of the block device below a directory.
func deviceOf(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
}
