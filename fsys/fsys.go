package fsys

import (
	"errors"

	"github.com/untorn/untorn/ring"
)

// FS is everything the engine asks of a file system except data I/O, which goes through a
// ring.Ring on the Files it returns. Paths are absolute or relative to the process, cleaned.
// No method follows a symlink in the last element of a path.
type FS interface {
	// Mkdir makes a directory with mode 0700. It is fine if it is there already and a directory.
	Mkdir(path string) error
	// Open opens or creates a file, mode 0600.
	Open(path string, f OpenFlags) (File, error)
	// Rename replaces newpath. Durable only after SyncDir of both directories.
	Rename(oldpath, newpath string) error
	// Remove unlinks a file. Durable only after SyncDir.
	Remove(path string) error
	// ReadDir lists a directory, sorted by name, without "." and "..".
	ReadDir(path string) ([]Entry, error)
	// Stat describes what is at path itself (lstat). errors.Is(err, fs.ErrNotExist) when nothing is.
	Stat(path string) (Entry, error)
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(path string) error
	// Mount describes the mount that path lies on.
	Mount(path string) (Mount, error)
}

// OpenFlags say how to open.
type OpenFlags struct {
	Create   bool // create it; it must not exist (O_CREAT|O_EXCL)
	ReadOnly bool
	// Direct asks for O_DIRECT (F_NOCACHE on darwin). Where the file system refuses it the file is
	// opened buffered, and File.Direct tells.
	Direct bool
	// Device allows a block device (opened O_EXCL); without it only regular files open.
	Device bool
}

// Entry is one directory entry.
type Entry struct {
	Name string
	Size int64
	Kind Kind
}

// Kind is what an Entry is.
type Kind uint8

// The kinds of Entry.
const (
	Regular Kind = iota
	Dir
	Symlink
	Device // a block device
	Other
)

// File is one open file description. It does no data I/O itself; a ring does.
type File interface {
	ring.File
	// Direct reports whether I/O bypasses the page cache. A non-nil reason says why it does not
	// although it was asked to.
	Direct() (bool, error)
	// Align is what I/O on this file needs. It never guesses: where neither statx nor the block
	// layer answers, it probes with reads.
	Align() Align
	// Size in bytes (of the device, for a block device).
	Size() (int64, error)
	// Preallocate reserves [off, off+n) and extends the size to cover it. Contents of newly
	// reserved ranges read as zeros, but the range still has to be written once before a data
	// flush carries no metadata. Fails with ErrNoSpace, leaving what was there before intact.
	Preallocate(off, n int64) error
	// Truncate sets the size.
	Truncate(size int64) error
	// Lock takes flock(LOCK_EX) or LOCK_SH on this very description without waiting: ErrLocked
	// when another description holds it. It lasts until Close (I11).
	Lock(exclusive bool) error
	Close() error
}

// Align is what direct I/O on a file needs, in bytes, each a power of two.
type Align struct {
	Mem      int // of buffer addresses
	Off      int // of offsets and lengths
	Physical int // the device's physical block, 0 if unknown
	// Block is max(4096, Off, Physical): the protocol block of a file (DESIGN, section 1).
	Block int
}

// Mount describes where a path lives and what its stack does to durability.
type Mount struct {
	Type    string   // "ext4", "xfs", "tmpfs", ...
	Point   string   // mount point
	Source  string   // what is mounted
	Options []string // mount and super options
	Device  string   // "major:minor"
	// WriteCache is queue/write_cache of the block device below: "write back", "write through",
	// or "" when it cannot be seen.
	WriteCache string
	// FlushesOff says why a flush on this stack does nothing ("barrier=0", ...), or is empty. Only
	// what is known counts: what cannot be seen leaves it empty.
	FlushesOff string
}

// Errors a caller can test for, besides io/fs.ErrNotExist, ErrExist and ErrPermission.
var (
	ErrLocked  = errors.New("locked by another process or opener")
	ErrNoSpace = errors.New("no space left") // ENOSPC and EDQUOT
	ErrSymlink = errors.New("is a symlink")
	ErrNotFile = errors.New("is neither a regular file nor an allowed device")
)
