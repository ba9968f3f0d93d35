// Package fsys is the engine's one way to a file system, for everything except data I/O: open,
// preallocate, rename, unlink, flush a directory, lock, and the facts about a mount. Data goes
// through a ring.Ring on the Files this package opens.
//
// OS is the real file system (Linux and darwin); package sim has a simulated one.
//
// # What it keeps
//
//   - No method follows a symlink in the last element of a path, so nothing a stranger planted in
//     an engine directory is ever opened, written or locked in place of an engine file. ErrSymlink.
//   - One Open is one open file description, and its flock lives and dies with it: the kernel
//     keeps a killed process's description, lock included, until the I/O queued on it has
//     finished (I11).
//   - A Preallocate that fails leaves the size it found, so that running out of space while
//     growing is refused, not suffered (I5).
//   - Alignment is asked of the kernel, then of the block layer, then found out by reading. It is
//     never a constant: 512 bytes is wrong on a drive with 4 KiB sectors.
//   - Direct I/O that was asked for and refused is not an error, but File.Direct says so and why.
//
// # Errors
//
// Every error is an *fs.PathError with operation and path. It matches the errno and, where there
// is one, ErrLocked, ErrNoSpace, ErrSymlink, ErrNotFile or the sentinel of io/fs.
package fsys
