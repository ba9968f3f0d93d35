package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/untorn/untorn/blocklog"
)

// slowDisk serves a file to qemu as a disk that takes its time, by the NBD protocol on a Unix socket:
// a flush lasts as long as on a drive that has to turn, and writes complete in another order than they
// came. Under an emulated processor a disk at memory speed has finished everything before the guest
// gets to its next step, and no mistake in the order of steps would ever be seen.
type slowDisk struct {
	f    *os.File
	size int64
	ln   net.Listener
	all  sync.WaitGroup

	mu   sync.Mutex
	conn net.Conn

	hang struct {
		sync.Mutex
		armed bool
		batch bool // since the last flush a write of more than batchBytes was taken
	}
	hung chan struct{} // closed when a flush hangs: none ends any more
	gone chan struct{} // closed by close

	took  sync.Mutex // one write at a time, so that order is the truth
	order []blocklog.Stroke
}

const (
	flushTakes   = 12 * time.Millisecond
	writeTakesTo = 3 * time.Millisecond
)

// Of the NBD protocol (fixed newstyle negotiation, simple replies).
const (
	nbdMagic       = 0x4e42444d41474943
	nbdOptMagic    = 0x49484156454f5054
	nbdReplyMagic  = 0x0003e889045565a9
	nbdRequest     = 0x25609513
	nbdSimpleReply = 0x67446698
	nbdFixed       = 1
	nbdNoZeroes    = 2
	nbdOptAbort    = 2
	nbdOptInfo     = 6
	nbdOptGo       = 7
	nbdAck         = 1
	nbdInfo        = 3
	nbdUnsupported = 1<<31 | 1
	nbdHasFlags    = 1
	nbdCanFlush    = 4
	nbdMaxRequest  = 64 << 20
)

var be = binary.BigEndian

// newSlowDisk serves the file name at a socket in dir.
func newSlowDisk(name, dir string) (*slowDisk, string, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, "", err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, "", err
	}
	socket := filepath.Join(dir, "nbd")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		f.Close()
		return nil, "", err
	}
	d := &slowDisk{f: f, size: st.Size(), ln: ln, hung: make(chan struct{}), gone: make(chan struct{})}
	d.all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conn = c
			d.mu.Unlock()
			if err := d.serve(c); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) &&
				!errors.Is(err, syscall.ECONNRESET) { // a machine that is killed says no goodbye
				fmt.Fprintln(os.Stderr, "powercut: slow disk:", err)
			}
			c.Close()
		}
	})
	return d, socket, nil
}

// batchBytes: only a batch of pages on its way to the doublewrite is written in larger requests.
const batchBytes = 128 << 10

// hangInBatch makes the next flush hang that finds a batch in the drive's cache, and every one from
// then on, while writes go on: what the cache has then, it has when the power goes. A promise
// that came before its flush is broken by that.
func (d *slowDisk) hangInBatch() {
	d.hang.Lock()
	defer d.hang.Unlock()
	d.hang.armed = true
}

// flushed ends a flush, or says that it hangs. One that was under way when the batch came would make it
// durable in the log, which has flushes where they end.
func (d *slowDisk) flushed() (hangs bool) {
	d.hang.Lock()
	defer d.hang.Unlock()
	select {
	case <-d.hung:
		return true
	default:
	}
	if hangs = d.hang.armed && d.hang.batch; hangs {
		close(d.hung)
	}
	d.hang.batch = false
	return hangs
}

// close returns when everything that had come has been written.
func (d *slowDisk) close() error {
	err := d.ln.Close()
	close(d.gone)
	d.mu.Lock()
	if d.conn != nil {
		d.conn.Close()
	}
	d.mu.Unlock()
	d.all.Wait()
	return errors.Join(err, d.f.Close())
}

func (d *slowDisk) serve(c net.Conn) error {
	if err := d.greet(c); err != nil {
		return err
	}
	var out sync.Mutex
	var g sync.WaitGroup
	defer g.Wait()
	for {
		var h [28]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err
		}
		kind, off, n := be.Uint16(h[6:]), int64(be.Uint64(h[16:])), int64(be.Uint32(h[24:]))
		if be.Uint32(h[:]) != nbdRequest || n > nbdMaxRequest {
			return fmt.Errorf("no request: %x", h)
		}
		if kind == 2 { // goodbye
			return io.EOF
		}
		b := make([]byte, n)
		if kind == 1 {
			if _, err := io.ReadFull(c, b); err != nil {
				return err
			}
		}
		g.Go(func() {
			errno := d.do(kind, off, b)
			r := make([]byte, 16, 16+n)
			be.PutUint32(r, nbdSimpleReply)
			be.PutUint32(r[4:], errno)
			copy(r[8:], h[8:16])
			if kind == 0 && errno == 0 {
				r = append(r, b...)
			}
			out.Lock()
			defer out.Unlock()
			_, _ = c.Write(r) // the next read tells that qemu is gone
		})
	}
}

// do one request; what it returns is an errno of the protocol.
func (d *slowDisk) do(kind uint16, off int64, b []byte) uint32 {
	const eio, einval = 5, 22
	if off < 0 || off > d.size-int64(len(b)) {
		return einval
	}
	var err error
	switch kind {
	case 0:
		_, err = d.f.ReadAt(b, off)
	case 1:
		time.Sleep(rand.N(writeTakesTo))
		d.took.Lock()
		_, err = d.f.WriteAt(b, off)
		d.order = blocklog.Strokes(d.order, off, b)
		d.took.Unlock()
		if len(b) > batchBytes {
			d.hang.Lock()
			d.hang.batch = true
			d.hang.Unlock()
		}
	case 3:
		time.Sleep(flushTakes) // it is the log that says what is durable, not this file
		if d.flushed() {
			<-d.gone
			return eio // nobody hears it
		}
	default:
		return einval
	}
	if err != nil {
		return eio
	}
	return 0
}

// greet negotiates the only export there is.
func (d *slowDisk) greet(c net.Conn) error {
	hello := be.AppendUint64(nil, nbdMagic)
	hello = be.AppendUint64(hello, nbdOptMagic)
	hello = be.AppendUint16(hello, nbdFixed|nbdNoZeroes)
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return err
	}
	for {
		var h [16]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err
		}
		opt, n := be.Uint32(h[8:]), be.Uint32(h[12:])
		if be.Uint64(h[:]) != nbdOptMagic || n > 4096 {
			return fmt.Errorf("no option: %x", h)
		}
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			return err
		}
		reply := func(kind uint32, data []byte) error {
			r := be.AppendUint64(nil, nbdReplyMagic)
			r = be.AppendUint32(r, opt)
			r = be.AppendUint32(r, kind)
			r = be.AppendUint32(r, uint32(len(data)))
			_, err := c.Write(append(r, data...))
			return err
		}
		var err error
		switch opt {
		case nbdOptGo, nbdOptInfo:
			info := be.AppendUint16(nil, 0) // NBD_INFO_EXPORT
			info = be.AppendUint64(info, uint64(d.size))
			info = be.AppendUint16(info, nbdHasFlags|nbdCanFlush)
			err = errors.Join(reply(nbdInfo, info), reply(nbdAck, nil))
		case nbdOptAbort:
			return errors.Join(reply(nbdAck, nil), io.EOF)
		default:
			err = reply(nbdUnsupported, nil)
		}
		if err != nil || opt == nbdOptGo {
			return err
		}
	}
}
