package bench

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/hwprobe"
)

// Host is what figures depend on besides the program and its configuration.
type Host struct {
	// Machine tells hosts apart without naming them: a hash of host name and machine id.
	Machine     string `json:"machine"`
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	Kernel      string `json:"kernel"`
	CPU         string `json:"cpu"`
	CPUs        int    `json:"cpus"`
	GOMAXPROCS  int    `json:"gomaxprocs"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	Go          string `json:"go"`
	Revision    string `json:"revision"`

	FileSystem string   `json:"file_system"`
	Mount      []string `json:"mount_options,omitempty"`
	Device     string   `json:"device,omitempty"`
	Drive      string   `json:"drive,omitempty"`
	WriteCache string   `json:"write_cache,omitempty"`
	Scheduler  string   `json:"scheduler,omitempty"`
	// LogDevice and CopiesDevice are file system and device of -wal-dir and -dwb-dir.
	LogDevice    string `json:"log_device,omitempty"`
	CopiesDevice string `json:"doublewrite_device,omitempty"`
	// FlushesOff says why a flush does nothing here, if that is known.
	FlushesOff string `json:"flushes_off,omitempty"`
	// Atomic is hwprobe's verdict for the page size: "relaxed", "required" or "unknown".
	Atomic       string `json:"atomic_writes,omitempty"`
	AtomicReason string `json:"atomic_writes_reason,omitempty"`
	// Load is the machine's load average when the run began: others were at work.
	Load float64 `json:"load_average"`
}

// HostFacts gathers facts about dir, a directory of the caller's own, and the machine, with hwprobe's
// verdict for pages of so many bytes. What cannot be read stays empty.
func HostFacts(ctx context.Context, dir string, pageBytes int) Host {
	return lookAt(ctx, dir, pageBytes)
}

// lookAt gathers facts about dir and the machine. What cannot be read stays empty.
func lookAt(ctx context.Context, dir string, pageBytes int) Host {
	h := Host{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), Go: runtime.Version(), Revision: revision(ctx),
	}
	name, _ := os.Hostname()
	id, _ := os.ReadFile("/etc/machine-id")
	sum := sha256.Sum256(append([]byte(name), id...))
	h.Machine = hex.EncodeToString(sum[:6])
	if m, err := fsys.OS().Mount(dir); err == nil {
		h.mounted(&m)
		h.platform(m.Device)
	} else {
		h.platform("")
	}
	// dir is our own scratch directory, so its nameless probe file is in nobody's way.
	r, err := hwprobe.Probe(ctx, dir, hwprobe.Options{})
	if err == nil && r.Error == "" {
		v := r.Decide(pageBytes, hwprobe.Policy{})
		h.Atomic, h.AtomicReason = string(v.Answer), v.Reason
	}
	return h
}

// mounted takes over what is known of a mount. A file system in memory flushes nothing either, though
// nobody turned that off.
func (h *Host) mounted(m *fsys.Mount) {
	h.FileSystem, h.Mount, h.Device = m.Type, m.Options, m.Source
	h.WriteCache, h.FlushesOff = m.WriteCache, flushesOff(m)
}

func flushesOff(m *fsys.Mount) string {
	if m.FlushesOff == "" && (m.Type == "tmpfs" || m.Type == "ramfs") {
		return m.Type + " is memory"
	}
	return m.FlushesOff
}

// beside is the file system and device below a place that is not the data's; "" if there is none.
// Flushes that do nothing there are as bad as the data's.
func (h *Host) beside(what string, place *scratch) string {
	if place == nil {
		return ""
	}
	m, err := fsys.OS().Mount(place.Path)
	if err != nil {
		return "unknown"
	}
	if off := flushesOff(&m); off != "" {
		h.FlushesOff = strings.TrimPrefix(h.FlushesOff+"; "+what+": "+off, "; ")
	}
	return m.Type + " on " + m.Source
}

// revision of the program, as far as the build recorded it; else, run within its own source tree,
// that of the tree ("go run" records none).
func revision(ctx context.Context) string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "", ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if rev == "" {
		return cmp.Or(treeRevision(ctx), "unknown")
	}
	return rev + dirty
}

// treeRevision asks git about the source tree that the current directory lies in; "" if that is not
// this module's.
func treeRevision(ctx context.Context) string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for ; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		name, _, _ := strings.Cut(string(mod), "\n")
		if name == "module github.com/untorn/untorn" || strings.HasPrefix(name, "module github.com/untorn/untorn/") { // or one inside
			break
		}
		if err == nil || dir == filepath.Dir(dir) {
			return ""
		}
	}
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return "tree " + strings.TrimSpace(string(out))
}

// different lists what makes figures of two hosts incomparable.
func (h Host) different(o Host) []string {
	var d []string
	for _, f := range []struct{ what, a, b string }{
		{"machine", h.Machine, o.Machine}, {"architecture", h.Arch, o.Arch}, {"kernel", h.Kernel, o.Kernel},
		{"CPU", h.CPU, o.CPU}, {"file system", h.FileSystem, o.FileSystem}, {"device", h.Device, o.Device},
		{"drive", h.Drive, o.Drive}, {"write cache", h.WriteCache, o.WriteCache}, {"scheduler", h.Scheduler, o.Scheduler},
		{"device of the log", h.LogDevice, o.LogDevice}, {"device of the copies", h.CopiesDevice, o.CopiesDevice},
		{"CPUs", fmt.Sprint(h.CPUs), fmt.Sprint(o.CPUs)}, {"GOMAXPROCS", fmt.Sprint(h.GOMAXPROCS), fmt.Sprint(o.GOMAXPROCS)},
		{"mount options", strings.Join(h.Mount, ","), strings.Join(o.Mount, ",")}, {"flushes off", h.FlushesOff, o.FlushesOff},
	} {
		if f.a != f.b {
			d = append(d, f.what+": "+f.a+" against "+f.b)
		}
	}
	return d
}
