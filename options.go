package untorn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/dwbstage"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/pageimage"
	"github.com/untorn/untorn/reclaim"
	"github.com/untorn/untorn/recovery"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/walstage"
)

// Options of an engine. Only Dir is required.
type Options struct {
	// Dir is the engine's directory. It is created, with mode 0700, when it is not there or empty.
	Dir string
	// WALDir and DWBDir put the log and the doublewrite file elsewhere, each in a directory of its
	// own on another device. Empty = in Dir. They must be given again at every open.
	WALDir, DWBDir string
	// MustExist refuses to create.
	MustExist bool
	// ReadOnly takes shared locks and changes nothing. The directory must have been closed in order.
	ReadOnly bool

	// Backend of submitted I/O. "" = auto: io_uring where it works, else threads. "buffered" also
	// keeps files out of O_DIRECT.
	Backend ring.Backend
	// Memory is what pages in flight may occupy, in bytes. 0 = 64 MiB. It is allocated at open.
	Memory int64
	// Depth is the most destination writes and reads in flight. 0 = 128.
	Depth int

	// BatchBytes is the size of a doublewrite batch: at creation. 0 = 1 MiB.
	BatchBytes int
	// Batches is P, the doublewrite batches in flight; Unflushed is D, those of them not flushed.
	// 0 = 4 and 2. The file is created with Batches + Unflushed regions.
	Batches, Unflushed int
	// DWBSync is how doublewrite batches are made durable.
	DWBSync DWBSync

	// SegmentBytes of the log: at creation. 0 = 64 MiB.
	SegmentBytes int64
	// MaxLogBytes bounds the log, at least three segments. 0 = the disk is the bound. A part of the
	// last segment is kept for the engine, so that a full log can always be emptied by a checkpoint.
	MaxLogBytes int64
	// LogFull is what appends do when the log may not grow: they are refused with ErrLogFull
	// (walstage.FullReject, the default), wait, or are slowed down before they have to wait.
	LogFull walstage.Full
	// OnLogPressure is told when the log fills, is full, and has room again; the Logger is told too.
	// It is called from a goroutine that makes segments: it must return at once, and leave a
	// checkpoint to another goroutine. nil = nobody is.
	OnLogPressure func(walstage.Event)
	// HoldMaxBytes and HoldMaxAge bound how much of the log a Hold or a subscriber may keep, and for
	// how long it may keep what a checkpoint would let go. Beyond, it is evicted when a checkpoint or
	// a full log wants room: it gets an *EvictedError and the log goes on. 0 = no bound.
	HoldMaxBytes int64
	HoldMaxAge   time.Duration
	// Archive gets every finished segment of the log before it may be let go. nil = no archive.
	Archive Archiver
	// Commit is how log groups are made durable. 0 = measured at open.
	Commit walstage.Commit
	// Policy says what Engine.Commit waits for, and what is lost at most where it does not wait: sync
	// (the default), async, or never, which is unsafe. Whatever it is, a page waits for its log (I3).
	Policy walstage.Policy
	// LossBytes and LossTime bound what policy async may lose. 0 = 1 MiB and 10 ms.
	LossBytes int64
	LossTime  time.Duration
	// LogHeaders keeps a copy of each log group's header in a file of its own, durable before the group
	// is acknowledged: the rot of the last group of all is then told from a torn tail (I10), for a
	// second small write one after the other. Off by default.
	LogHeaders bool
	// FetchLog is asked for a part of the log that had been durable and is lost, before a corrupt log
	// stops the open: walstage.GroupBytes reads it from an archived segment. What it returns is used only
	// if checksums, LSN, epoch and chain prove that it is what was there. nil = nobody is asked.
	FetchLog func(ctx context.Context, lost walstage.LostGroup) ([]byte, error)
	// FetchPage is asked for a page of which no image in the directory may be trusted, before lost pages
	// stop the open: a backup or a replica of the same directory may have it; a clone that went on by
	// itself has not, and its LSNs would lie. What it returns is used only if it passes its format's check
	// for this very page of this very file, and is the image the newest doublewrite header names, or has
	// a higher LSN that the log holds. Report.Pages has what was taken, and why what was not. It must
	// answer the same when asked again: a recovery that dies asks again. nil = nobody is asked.
	FetchPage func(ctx context.Context, lost recovery.LostPage) ([]byte, error)
	// LogGroups is the most log groups in flight. 0 = 4; the log starts with one and adapts.
	LogGroups int
	// LogDepth is how many of them are in flight from the start, and the least it adapts to. 0 = 1.
	LogDepth int

	// AutoCheckpoint has checkpoints taken by log size and time. nil = the caller takes them all.
	AutoCheckpoint *AutoCheckpoint
	// OnCheckpoint is told of each phase of each checkpoint, the caller's own too, in the goroutine
	// that takes it: it must not block. Stats has the same at any time.
	OnCheckpoint func(CheckpointProgress)

	// ImageCodec compresses page images in the log, where that makes them smaller. nil = none. Package
	// pageimage/codecs has lz4 and zstd. ImageCodecs are those that an open can read besides: images
	// in any other are refused with pageimage.ErrCodec.
	ImageCodec  pageimage.Codec
	ImageCodecs []pageimage.Codec

	// ShadowRepair is what files in mode shadow are repaired from. "" = ShadowDoublewrite.
	ShadowRepair ShadowSource

	// IdleFlush is how long a written page may stay unflushed when nobody waits for it. 0 = 20 ms.
	IdleFlush time.Duration
	// SlowIO is after how long without any completion, with I/O in flight, Stats and the logger say
	// so. 0 = 5 s, where the operating system does the I/O; negative = never.
	SlowIO time.Duration

	// Unsafe allows what can lose data by design: files in mode "none".
	Unsafe bool
	// AllowFlushesOff opens on a stack that is known to drop flushes.
	AllowFlushesOff bool
	// AcceptLoss lets recovery give up pages of which no image may be trusted: they are listed in the
	// report and marked unreadable until written again.
	AcceptLoss bool
	// RecoverTo gives a corrupt log up from this LSN on, the end of a record before the damage that the
	// error names: everything behind it is erased, and the log goes on above every LSN there can have
	// been. Pages may be newer than what is left of the log. It is refused when the log is not corrupt.
	// Copy the directory, or Salvage it, before. 0 = a corrupt log stops the open.
	RecoverTo page.LSN
	// MaxRecoveries is how many recoveries may be begun without one finishing. 0 = 8.
	MaxRecoveries int
	// LockWait bounds the wait for locks, which a dead process's I/O may hold a moment longer (I11).
	// 0 = 5 s; negative = do not wait.
	LockWait time.Duration

	// AtomicPolicy is what counts as proof for modes atomic and auto beyond what hwprobe proves, or
	// less. The zero value trusts nothing more and nothing less.
	AtomicPolicy hwprobe.Policy

	// Logger gets a line at open and at everything an operator wants to know. Its handler must not call
	// the engine: some lines are written while a lock is held. nil = none.
	Logger *slog.Logger

	// Alloc is where the memory of an open comes from, zeroed, at a multiple of align: page frames, the
	// log's groups, what recovery reads into. It may be used again when Close, or an Open that failed, has
	// returned: for whoever opens very many engines. nil = the heap, and a mapping for the frames.
	Alloc func(n, align int) []byte
	// FS and NewRing replace the operating system: the simulator does. nil = the real ones.
	FS      fsys.FS
	NewRing func(name string, c ring.Config) (ring.Ring, error)
	// Probe looks at the stack below a file. nil = hwprobe on the operating system's file system,
	// and on any other one nothing is known.
	Probe Prober
	// Mutants breaks rules on purpose, to show that the proofs notice. Never set it otherwise.
	Mutants stages.Mutant
}

// DWBSync says how doublewrite batches are made durable.
type DWBSync uint8

// The values of DWBSync.
const (
	DWBAuto  DWBSync = iota // DSYNC for a small batch where nothing else is on its way, else a flush
	DWBFlush                // one flush for what has been written
	DWBDSync                // DSYNC on the writes of a batch
)

// ShadowSource is a source that pages in mode shadow are repaired from.
type ShadowSource string

// The sources.
const (
	ShadowDoublewrite ShadowSource = "doublewrite"
	ShadowLog         ShadowSource = "log"
)

const (
	defaultMemory        = 64 << 20
	defaultDepth         = 128
	defaultBatch         = 1 << 20
	defaultMaxRecoveries = 8
	defaultLockWait      = 5 * time.Second
	defaultIdleFlush     = 20 * time.Millisecond
	maxOpenFiles         = 256
)

func (o Options) withDefaults() Options {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Depth == 0 {
		o.Depth = defaultDepth
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = defaultBatch
	}
	if o.Batches == 0 {
		o.Batches = 4
	}
	if o.Unflushed == 0 {
		o.Unflushed = min(2, o.Batches)
	}
	if o.SlowIO == 0 {
		o.SlowIO = defaultSlowIO
		if o.NewRing != nil {
			o.SlowIO = -1
		}
	}
	if o.IdleFlush == 0 {
		o.IdleFlush = defaultIdleFlush
	}
	if o.MaxRecoveries == 0 {
		o.MaxRecoveries = defaultMaxRecoveries
	}
	if o.LockWait == 0 {
		o.LockWait = defaultLockWait
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Probe == nil {
		o.Probe = probeNothing
		if o.FS == nil || o.FS == fsys.OS() {
			o.Probe = probeOS(o.AtomicPolicy)
		}
	}
	if o.FS == nil {
		o.FS = fsys.OS()
	}
	if o.NewRing == nil {
		o.NewRing = func(_ string, c ring.Config) (ring.Ring, error) { return ring.New(c) }
	}
	if o.Dir != "" {
		o.Dir = filepath.Clean(o.Dir)
	}
	if o.WALDir == "" {
		o.WALDir = o.Dir
	}
	if o.DWBDir == "" {
		o.DWBDir = o.Dir
	}
	return o
}

// alloc is Alloc or the heap.
func (o *Options) alloc(n, align int) []byte {
	if o.Alloc != nil {
		return o.Alloc(n, align)
	}
	return aligned.Alloc(n, align)
}

// Validate returns every complaint about the options, joined; each matches ErrOptions.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, a...)...))
	}
	if o.Dir == "" {
		bad("Dir is required")
	}
	if o.Depth < 1 || o.Depth > 4096 {
		bad("Depth %d is not from 1 to 4096", o.Depth)
	}
	if _, err := reclaim.NewRegions(o.Batches+o.Unflushed, o.Batches, o.Unflushed); err != nil {
		bad("%v", err)
	}
	g := dwbstage.Geometry{Block: 4096, Batch: o.BatchBytes, Regions: 1}
	if err := g.Validate(); err != nil {
		bad("%v", err)
	}
	// Every batch that can be in flight, and as much again for callers that wait.
	if need := int64(o.Batches+4) * int64(o.BatchBytes); o.Memory < need {
		bad("Memory of %d bytes is less than %d, what %d batches of %d in flight take", o.Memory, need, o.Batches, o.BatchBytes)
	}
	if o.DWBSync > DWBDSync {
		bad("unknown DWBSync %d", o.DWBSync)
	}
	if o.HoldMaxBytes < 0 || o.HoldMaxAge < 0 {
		bad("HoldMaxBytes and HoldMaxAge are not negative")
	}
	if o.LogFull > walstage.FullThrottle {
		bad("unknown LogFull %d", o.LogFull)
	}
	if o.Policy == walstage.PolicyNever && !o.Unsafe {
		bad("commit policy never loses what was committed by design; Options.Unsafe allows it")
	}
	if err := o.AutoCheckpoint.validate(); err != nil {
		errs = append(errs, err)
	}
	if o.ShadowRepair != "" && o.ShadowRepair != ShadowDoublewrite && o.ShadowRepair != ShadowLog {
		bad("unknown ShadowRepair %q (doublewrite, log)", o.ShadowRepair)
	}
	if o.ReadOnly && o.AcceptLoss {
		bad("AcceptLoss needs to write")
	}
	return errors.Join(errs...)
}

// Mode is how a file's pages are protected.
type Mode string

// The modes.
const (
	// ModeDoublewrite: every page goes through the doublewrite buffer first. The default.
	ModeDoublewrite Mode = "doublewrite"
	// ModeFullpage: the log holds the second copy. The first write of a page after each Checkpoint call
	// (and after an open) logs the page's image; later ones rely on it and on the caller's records.
	// After a crash, pages are what was acknowledged once the caller has replayed its records (Replay):
	// a reopen may first return an older image. Every change of a page must be in a record that ends at
	// the page's LSN, or be written with LSN 0 or as Unrecorded. Protected is the image being durable;
	// a write that logs none waits for the destination flush.
	ModeFullpage Mode = "fullpage"
	// ModeShadow: doublewrite and an image of every write, for running both beside each other. After a
	// crash the report says what each alone would have chosen, page by page; Options.ShadowRepair
	// decides which of the two pages are repaired from.
	ModeShadow Mode = "shadow"
	// ModeAtomic: no second copy. Every write carries RWF_ATOMIC, and the kernel refuses what it
	// cannot write untorn. Opening is refused (ErrNotAtomic) where hwprobe does not prove it for this
	// file and page size. A write the kernel refuses all the same moves the file to the doublewrite
	// buffer until it is opened again: logged, counted, shown in Info.
	ModeAtomic Mode = "atomic"
	// ModeAuto: atomic where hwprobe proves it for this file and page size in hardware, else
	// doublewrite, decided anew each time the engine is opened. File.Protection and Info say which,
	// and why. Proof in software (XFS copying on write) is not taken: it is the slower way.
	ModeAuto Mode = "auto"
	// ModeDetect: checksums only. A torn page is found when it is read, not repaired.
	ModeDetect Mode = "detect"
	// ModeNone: nothing, and reads do not check. Needs Options.Unsafe.
	ModeNone Mode = "none"
)

// FileOptions of OpenFile. The zero value opens what is there in the mode it has.
type FileOptions struct {
	// Create makes the file; it must not exist.
	Create bool
	// PageSize in bytes, a power of two from 4 KiB to 64 KiB; at creation. 0 = 16 KiB, or what is there.
	PageSize int
	// Format of the pages; at creation. "" = native, or what is there. Pages of "postgres",
	// "innodb-full-crc32", "innodb-crc32" and "innodb-none" are the caller's byte for byte: a page is
	// written as it is, if it passes the format's own checks, and its LSN is the one it carries. With
	// LSNs of another log ForeignLSN must say so. docs/formats.md has what each format detects.
	Format string
	// Pages is the number of pages at creation.
	Pages uint64
	// Mode of protection. "" = what the file had, or doublewrite.
	Mode Mode
	// AtomicOverride has atomic writes where mode atomic would refuse them, or auto not take them. It
	// names the rule whose answer is overridden, as the error and Info do ("11b"): should another rule
	// decide one day, the override does not hold for it. It must be given at every open.
	AtomicOverride string
	// Path puts the file elsewhere than in Dir, or names a block device; at creation. Absolute.
	Path string
	// Device allows Path to be a block device, which must be blank.
	Device bool
	// ForeignLSN says that page LSNs are not of this engine's log (I3, I10): at creation.
	ForeignLSN bool
	// SmallPages allows pages smaller than the protocol block: a torn block then takes neighbours
	// with it that were acknowledged long ago. At creation.
	SmallPages bool
}

// DefaultPageSize is what FileOptions.PageSize 0 means at creation; files of the format "postgres"
// have 8 KiB.
const DefaultPageSize = 16 << 10

func defaultPageSize(format string) int {
	if format == (page.Postgres{}).Name() {
		return 8 << 10
	}
	return DefaultPageSize
}

func (o FileOptions) validate(e *Options) error {
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, a...)...))
	}
	if o.PageSize != 0 && !page.ValidSize(o.PageSize) {
		bad("page size %d is not a power of two from %d to %d", o.PageSize, page.MinSize, page.MaxSize)
	}
	switch o.Mode {
	case "", ModeDoublewrite, ModeFullpage, ModeShadow, ModeAtomic, ModeAuto, ModeDetect:
	case ModeNone:
		if !e.Unsafe && !e.ReadOnly {
			bad("mode none can lose pages by design; Options.Unsafe allows it")
		}
	default:
		bad("unknown mode %q (doublewrite, fullpage, shadow, atomic, auto, detect, none)", o.Mode)
	}
	if o.Format != "" && page.FormatNamed(o.Format) == nil {
		var known []string
		for _, f := range page.Formats() {
			known = append(known, f.Name())
		}
		bad("unknown page format %q (%s)", o.Format, strings.Join(known, ", "))
	}
	if o.Format == (page.Postgres{}).Name() && o.PageSize > 32<<10 {
		bad("pages of PostgreSQL have at most 32 KiB")
	}
	if o.Path != "" && !filepath.IsAbs(o.Path) {
		bad("path %q is not absolute", o.Path)
	}
	if o.Device && o.Path == "" {
		bad("a device needs its path")
	}
	if !o.Create && (o.Pages != 0 || o.Path != "" || o.Device || o.ForeignLSN || o.SmallPages) {
		bad("pages, path, device, foreign LSNs and small pages are given at creation")
	}
	return errors.Join(errs...)
}
