package certify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/ring"
)

// look gathers facts about the host and every place. Nothing but an empty, nameless probe file is
// made; it is the same for a certificate and for a later comparison.
func look(ctx context.Context, c Config, salt string) ([]Place, []Fact, error) {
	var ps []Place
	h := &facts{where: "host"}
	h.put("machine", machine(salt))
	h.put("operating system", runtime.GOOS)
	h.put("architecture", runtime.GOARCH)
	h.put("processors", fmt.Sprint(runtime.NumCPU()))
	h.put("engine revision", revision())
	h.backend()
	h.limits()
	for _, p := range c.places() {
		masked, err := hwprobe.Probe(ctx, p.path, hwprobe.Options{})
		if err != nil {
			return nil, nil, err
		}
		whole, err := hwprobe.Probe(ctx, p.path, hwprobe.Options{Serials: true})
		if err != nil {
			return nil, nil, err
		}
		if p.role == "dir" {
			of(h, "kernel", whole.Host.Kernel)
		}
		ps = append(ps, Place{Role: p.role, Path: p.path, WriteCache: masked.WriteCache(),
			Atomic: masked.Decide(c.PageBytes, hwprobe.Policy{}), Notes: masked.Notes(), Capture: masked})
		h.list = append(h.list, placeFacts(p.role, whole, c.PageBytes, salt)...)
	}
	return ps, h.list, nil
}

// backend is what submitted I/O would go through in this process: limits and seccomp decide.
func (l *facts) backend() {
	r, err := ring.New(ring.Config{Backend: ring.Auto})
	if err != nil {
		l.list = append(l.list, Fact{Where: l.where, What: "backend", Missing: err.Error()})
		return
	}
	in := r.Info()
	l.put("backend", in.Backend)
	l.put("backend's reason", in.Reason)
	_ = r.Close() // nothing was submitted
}

// machine tells hosts apart without naming them.
func machine(salt string) string {
	name, _ := os.Hostname()                // what cannot be read tells nothing apart
	id, _ := os.ReadFile("/etc/machine-id") // the same
	sum := sha256.Sum256([]byte(salt + "\x00" + name + "\x00" + string(id)))
	return hex.EncodeToString(sum[:8])
}

// revision of this program, as far as the build recorded it.
func revision() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return unknownRevision
	}
	rev, dirty := "", ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if rev == "" {
		if v := b.Main.Version; v != "" && v != "(devel)" {
			return v
		}
		return unknownRevision
	}
	return rev + dirty
}

const unknownRevision = "unknown"

// Now gathers the facts of a profile's stack afresh, for Compare: of dir, and of the log's and
// doublewrite's places as the profile has them.
func Now(ctx context.Context, p *Profile, dir string) ([]Fact, error) {
	c := p.Config
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		c.Dir = abs
	}
	if c.Dir == "" || c.PageBytes <= 0 {
		return nil, errors.New("the profile names no directory or page size")
	}
	_, fs, err := look(ctx, c, p.Salt)
	return fs, err
}
