package untorn

import (
	"encoding/hex"
	"time"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/ring"
	"github.com/untorn/untorn/stages"
	"github.com/untorn/untorn/walstage"
)

// Info says what an open engine works with, and why.
type Info struct {
	Dir, WALDir, DWBDir string
	EngineID            string
	Epoch               uint64
	ReadOnly            bool
	Block               int // protocol block in bytes
	Backend             string
	BackendReason       string
	// DirectIO is whether the doublewrite file bypasses the page cache; DirectReason why it does not.
	DirectIO     bool
	DirectReason string
	// Registered is the number of bytes of page memory registered with the kernel, or why not.
	Registered       int64
	RegisteredReason string
	LogCommit        string
	LogPolicy        string // commit policy: sync, async or never
	DWBSync          string
	BatchBytes       int
	Regions          int
	MemoryBytes      int64    // of pages in flight
	LogBufferBytes   int64    // of the log's groups; both are fixed at open
	FileSystem       []string // type and options of each place
	WriteCache       string
	// Flushes is what a flush is worth in each place, and why, as hwprobe sees it.
	Flushes []string
	Files   []FileInfo
}

// FileInfo says what holds for one data file.
type FileInfo struct {
	ID   uint32
	Name string
	Mode string // asked for
	// Protection is what is in use: of mode atomic or auto, what became of it; "" before the file is
	// opened for writing. Verdict is why (nil: not asked), Override the rule that was overridden.
	Protection string
	Verdict    *AtomicVerdict
	Override   string
	// Refused counts atomic writes that the kernel refused; Moved is why the file left them, or page
	// images in a log that is full, for the doublewrite buffer; "" if it did not.
	Refused  uint64
	Moved    string
	PageSize int
	Pages    uint64
	Path     string
	DirectIO bool
	// Format of its pages, ForeignLSN whether their LSNs are of another log.
	Format     string
	ForeignLSN bool
	// SmallPages: pages share a protocol block; a torn block may take a neighbour with it.
	SmallPages bool
}

// Info describes the engine as it is now.
func (e *Engine) Info() Info {
	st := e.current()
	in := Info{
		Dir: e.o.Dir, WALDir: e.o.WALDir, DWBDir: e.o.DWBDir, EngineID: hex.EncodeToString(st.Engine[:]),
		Epoch: st.Epoch, ReadOnly: e.o.ReadOnly, Block: st.Block, BatchBytes: st.DWBBatch,
		Regions: st.DWBRegions, MemoryBytes: e.o.Memory, DWBSync: "flush",
	}
	if e.o.DWBSync == DWBDSync {
		in.DWBSync = "dsync"
	}
	ri := e.page.Info()
	in.Backend, in.BackendReason, in.Registered = ri.Backend, ri.Reason, ri.Registered
	if e.regErr != nil {
		in.RegisteredReason = e.regErr.Error()
	}
	direct, why := e.places.dwb.Direct()
	in.DirectIO = direct
	if why != nil {
		in.DirectReason = why.Error()
	} else if !direct {
		in.DirectReason = "buffered I/O was asked for"
	}
	if e.log != nil {
		in.LogCommit = e.log.Commit().String()
		in.LogBufferBytes = e.log.Stats().BufferBytes
		in.LogPolicy = e.o.Policy.String()
	}
	for _, m := range e.mounts {
		in.FileSystem = append(in.FileSystem, m.Type)
		in.WriteCache = m.WriteCache
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	in.Flushes = append(in.Flushes, e.flushes...)
	for _, f := range e.files {
		moved := ""
		if why := f.desc.Moved.Load(); why != nil {
			moved = (*why).Error()
		}
		if im := f.images.Load(); im != nil && im.left.Load() != nil {
			moved = (*im.left.Load()).Error()
		}
		d := false
		if f.io != nil {
			d, _ = f.io.Direct()
		}
		in.Files = append(in.Files, FileInfo{
			ID: uint32(f.info.ID), Name: f.info.Name, Mode: f.info.Mode, PageSize: f.info.PageSize,
			Pages: f.pages.Load(), Path: f.info.Path, DirectIO: d, Format: f.info.Format, ForeignLSN: f.info.ForeignLSN, SmallPages: f.info.SmallPages,
			Protection: string(f.protectionLocked()), Verdict: f.verdict, Override: f.override,
			Refused: f.desc.Refused.Load(), Moved: moved,
		})
	}
	return in
}

// announce is the one line at open.
func (e *Engine) announce() {
	in := e.Info()
	e.o.Logger.Info("opened", "dir", in.Dir, "epoch", in.Epoch, "clean", e.report.Clean,
		"backend", in.Backend, "reason", in.BackendReason, "direct", in.DirectIO, "direct_reason", in.DirectReason,
		"fs", in.FileSystem, "write_cache", in.WriteCache, "flushes", in.Flushes, "log_commit", in.LogCommit, "log_policy", in.LogPolicy,
		"pages_recovered", e.report.Installed, "took", e.report.Took.Round(time.Microsecond))
}

// Stats is a snapshot of what the engine has been doing.
type Stats struct {
	Stages []stages.StageStats
	Log    walstage.Stats
	Ring   ring.Stats // of pages: doublewrite and destinations
	Memory aligned.Stats
	// Refused counts atomic writes that the kernel refused, of the files that are open.
	Refused uint64
	// Images and ImageBytes count the page images logged, and the bytes of their records, of the files
	// that are open.
	Images, ImageBytes uint64
	// Checkpoints counts them, and says how far one under way has come.
	Checkpoints CheckpointStats
	// SlowIO says whether the drive has stopped answering.
	SlowIO SlowIO
	// Recovery is what an open would have to do after a crash now.
	Recovery RecoveryEstimate
	// PageTime is where accepted pages spent their time, all stages together.
	PageTime stages.PageTime
	// Retention says how much of the log is kept, and for whom.
	Retention Retention
}

// RecoveryEstimate is what an open reads after a crash: the log from the last checkpoint's redo on,
// and the doublewrite file.
type RecoveryEstimate struct {
	Bytes int64
	// Rate is how many of them this directory's last recovery got through in a second, replay by the
	// caller not included, and Time what follows for Bytes. 0 = the last open had nothing to recover.
	Rate float64
	Time time.Duration
}

func (e *Engine) recoveryEstimate() RecoveryEstimate {
	st := e.current()
	r := RecoveryEstimate{Bytes: int64(e.log.End()-max(st.Redo.LSN, e.log.Oldest())) + geometry(st).FileBytes()}
	if p := e.report; p != nil && !p.Clean && p.Took > 0 {
		r.Rate = float64(p.DWBBytes+p.Log.ReadBytes) / p.Took.Seconds()
	}
	if r.Rate > 0 {
		r.Time = time.Duration(float64(r.Bytes) / r.Rate * float64(time.Second))
	}
	return r
}

// ResetDistributions makes the distributions in Stats begin anew, without the counters: what a
// benchmark does after its warm-up.
func (e *Engine) ResetDistributions() {
	if e.dwb != nil {
		e.dwb.ResetStats()
		e.data.ResetStats()
		e.reclaim.ResetStats()
	}
	if e.log != nil {
		e.log.ResetStats()
	}
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	var s Stats
	if e.dwb != nil {
		s.Stages = append(s.Stages, e.dwb.Stats(), e.data.Stats(), e.reclaim.Stats())
		for i := range s.Stages {
			for k, d := range s.Stages[i].PageTime {
				s.PageTime[k] += d
			}
		}
	}
	if e.log != nil {
		s.Log = e.log.Stats()
		s.Retention = e.Retention()
		s.Recovery = e.recoveryEstimate()
	}
	s.Checkpoints = e.ckpt.snapshot()
	s.SlowIO = e.watchdog.snapshot()
	if r, ok := e.page.(ring.StatsRing); ok {
		s.Ring = r.Stats()
	}
	e.mu.Lock()
	for _, f := range e.files {
		s.Refused += f.desc.Refused.Load()
		if im := f.images.Load(); im != nil {
			s.Images += im.logged.Load()
			s.ImageBytes += im.bytes.Load()
		}
	}
	e.mu.Unlock()
	if e.frames != nil {
		s.Memory = e.frames.Stats()
	}
	return s
}
