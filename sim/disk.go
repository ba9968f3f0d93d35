package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/ring"
)

// Config describes a disk. The zero value is a sound drive with 512-byte sectors.
type Config struct {
	// Seed decides completion order, garbage and every random choice.
	Seed uint64
	// Sector is what direct I/O is aligned to, in bytes. 0 means 512.
	Sector int
	// Physical is what the drive writes at once and tears at. 0 means Sector.
	Physical int
	// MemAlign is what addresses of direct-I/O buffers are aligned to. 0 means Sector.
	MemAlign int
	// Capacity in bytes of all file sizes together. 0 means without limit.
	Capacity int64
	// Atomic is the largest write ring.Atomic accepts. 0 refuses all, as most drives do.
	Atomic int
	// NoDirect refuses O_DIRECT, as some file systems do.
	NoDirect bool
	// DeviceFlush makes a flush of one file cover all files, as most drives do. Engines must not
	// rely on it; the default is the weaker promise.
	DeviceFlush bool
	// FlushesLie makes every flush succeed and do nothing.
	FlushesLie bool
	// LinkedShortWrite is a mutant of the ring: after a short write (Fault.Short) the rest is lost
	// and the op succeeds, as in a linked write->fsync chain that is not looked after.
	LinkedShortWrite bool
	// Depth is how many ops a ring holds before Submit waits. 0 means 256.
	Depth int
	// Inline completes every op inside Submit: the same order every time, nothing in flight.
	Inline bool
	// Latency, if set, is how long each op takes; completions then come in order of time, and
	// under testing/synctest of virtual time. Without it they come at once, in a random order.
	Latency func(*ring.Op) time.Duration
	// ZombieTicks is the most operations of a killed process's successor that its writes with fate
	// Later wait for. 0 means 24.
	ZombieTicks int
	// Mount is what Mount returns. An empty Type means a mount of type "sim".
	Mount fsys.Mount
}

// fill puts the defaults in.
func (c Config) fill() Config {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&c.Sector, 512)
	def(&c.Physical, c.Sector)
	def(&c.MemAlign, c.Sector)
	def(&c.Depth, 256)
	def(&c.ZombieTicks, zombieTicks)
	if c.Mount.Type == "" {
		c.Mount = fsys.Mount{Type: "sim", Point: "/", Source: "sim", Device: "0:0",
			WriteCache: "write back"}
	}
	return c
}

// ErrOff is what everything fails with after PowerOff.
var ErrOff = errors.New("the simulated machine is off")

// Disk is a simulated disk with a file system on it. Its methods may be called from any goroutine.
type Disk struct {
	mu       sync.Mutex
	cfg      Config // filled
	st       *state
	rng      *rand.Rand
	nextFd   uintptr
	nextOp   uint64
	files    map[uintptr]*file // open in this life of the process
	log      *Log              // nil: not recording
	flight   []*pending
	spare    []*pending // for reuse
	written  []byte     // by the last write: the next one may be a copy of it
	held     []*pending
	hooks    []func(*ring.Op) Fault
	cleared  uint64 // how many times ClearFaults was called
	fsHooks  []func(op, path string) error
	zombies  []zombie
	problems []Problem
	stats    ring.Stats
	off      bool
}

// New returns an empty disk.
func New(cfg Config) *Disk {
	cfg = cfg.fill()
	return newDisk(cfg, newState(int64(max(cfg.Sector, cfg.Physical)), cfg.DeviceFlush))
}

// firstFd keeps descriptors of simulated files from being mistaken for real ones.
const firstFd = 1 << 30

func newDisk(cfg Config, st *state) *Disk {
	d := &Disk{
		cfg:    cfg,
		st:     st,
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0x756e746f726e)),
		nextFd: firstFd,
		nextOp: 1,
		files:  map[uintptr]*file{},
	}
	// What a killed process left in flight keeps its numbers.
	for fd := range st.handles {
		d.nextFd = max(d.nextFd, fd+1)
	}
	for _, n := range st.nodes {
		for _, w := range n.pend {
			d.nextOp = max(d.nextOp, w.op+1)
		}
	}
	return d
}

// FS is the file system on the disk. It starts with an empty root directory.
func (d *Disk) FS() fsys.FS { return simFS{d} }

// Record starts a new log from what the disk is now.
func (d *Disk) Record() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = &Log{cfg: d.cfg, base: d.st.fork()}
}

// Log returns what was recorded so far. It panics without Record.
func (d *Disk) Log() *Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == nil {
		panic("sim: Log without Record")
	}
	l := *d.log
	l.entries = slices.Clip(l.entries)
	return &l
}

// Mark puts an annotation of the workload into the log ("page 5 v3 is Durable") and returns its
// index. A crash point after it must hold to it.
func (d *Disk) Mark(v any) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record(Entry{Kind: Mark, Mark: v})
}

// record makes an event happen and logs it. It returns the entry's index, -1 without a log.
func (d *Disk) record(e Entry) int {
	d.st.apply(&e)
	if d.log == nil {
		return -1
	}
	e.Index = len(d.log.entries)
	d.log.entries = append(d.log.entries, e)
	return e.Index
}

// PowerOff ends this life of the machine: everything in flight and everything asked later fails
// with ErrOff and changes nothing. An engine left running on a disk that was crashed or killed
// comes to an end that way.
func (d *Disk) PowerOff() {
	d.mu.Lock()
	d.off = true
	d.mu.Unlock()
	d.Release(nil)
}

// Point is the disk at this instant, to be crashed or killed.
func (d *Disk) Point() *Point {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := 0
	if d.log != nil {
		at = len(d.log.entries)
	}
	return newPoint(d.cfg, d.st.fork(), at)
}

// Snapshot returns another disk with the same contents and the same promises about them, but
// nothing in flight, no file open and no faults to come.
func (d *Disk) Snapshot() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.st.fork()
	s.flushes, s.handles = map[uint64]flush{}, map[uintptr]handle{}
	for _, n := range s.nodes {
		n.pend = slices.DeleteFunc(n.pend, func(w *write) bool { return w.done == 0 })
	}
	return newDisk(d.cfg, s)
}

// SetMount changes what Mount returns.
func (d *Disk) SetMount(m fsys.Mount) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg.Mount = m
}

// Stats counts what all rings of the disk did.
func (d *Disk) Stats() ring.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Problem is something the workload did that no correct engine does.
type Problem struct {
	What string // "write races write", "read races write", "buffer changed in flight"
	File string
	Off  int64
	Len  int
}

func (p Problem) String() string {
	return fmt.Sprintf("%s: %s [%d,+%d)", p.What, p.File, p.Off, p.Len)
}

// Problems returns what was noticed so far. Races of reads with writes break I9 only where a page
// is concerned; a scan beside a running engine may cause them too.
func (d *Disk) Problems() []Problem {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.problems)
}

// ReadFile returns what a read of the whole file sees now.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.regular("read", name)
	if err != nil {
		return nil, err
	}
	p := make([]byte, n.cur.size)
	n.cur.readAt(p, 0)
	return p, nil
}

// WriteFile puts a file there, durably, as if it had always been there. Its directory must exist.
// It is for setting a scene, and not while recording: no log could replay it.
func (d *Disk) WriteFile(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log != nil {
		panic("sim: WriteFile while recording")
	}
	dir, base, err := d.st.parent(name)
	if err != nil {
		return pathError("write", name, err)
	}
	n := &node{}
	n.cur.writeAt(data, 0)
	n.cur.size = int64(len(data))
	n.dur = n.cur.fork()
	id := d.st.next
	d.st.next++
	d.st.nodes[id] = n
	d.st.nodes[dir].cdir[base], d.st.nodes[dir].ddir[base] = id, id
	return nil
}

// regular finds a file by name.
func (d *Disk) regular(op, name string) (*node, error) {
	_, n, err := d.st.lookup(name)
	if err == nil && n.dir {
		err = fsys.ErrNotFile
	}
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return n, nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
