package certify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/untorn/untorn/bench"
	"github.com/untorn/untorn/explore"
	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/torture"
)

// Schema of a profile. A reader refuses any other.
const Schema = "untorn.profile/1"

// Verdicts of a profile.
const (
	Certified    = "certified"
	NotCertified = "not certified"
	Incomplete   = "incomplete" // interrupted, or under way
)

// Profile is what was found out about one stack, and the verdict.
type Profile struct {
	Schema  string `json:"schema"`
	Verdict string `json:"verdict"`
	// Reasons say why it is not certified, or not complete. Reservations limit what a certificate
	// says: what could not be seen or tried.
	Reasons      []string `json:"reasons"`
	Reservations []string `json:"reservations"`

	Started  string  `json:"started"` // RFC 3339
	Finished string  `json:"finished,omitempty"`
	Elapsed  float64 `json:"elapsed_seconds"`

	Config Config  `json:"config"`
	Engine Engine  `json:"engine"`
	Places []Place `json:"places"`
	// Facts are what Compare holds against the facts of another day.
	Facts []Fact `json:"facts"`
	// Salt makes identities of drives of this profile unlike those of any other.
	Salt string `json:"salt"`

	Controls []Control         `json:"controls"`
	Explored []*explore.Result `json:"explored"`
	Tortured []Tortured        `json:"tortured"`
	Limits   *Limits           `json:"limits,omitempty"`
}

// Engine is the program that was tried.
type Engine struct {
	Revision string `json:"revision"` // "unknown" where the build did not record one
	Go       string `json:"go"`
}

// Place is one of the directories.
type Place struct {
	Role       string             `json:"role"` // "dir", "wal", "dwb"
	Path       string             `json:"path"`
	WriteCache hwprobe.WriteCache `json:"write_cache"`
	Atomic     hwprobe.Verdict    `json:"atomic"` // for the page size of the configuration
	Notes      []string           `json:"notes"`
	Capture    *hwprobe.Report    `json:"capture"` // serial numbers masked
}

// Control is a broken variant of the protocol, and whether the explorer convicted it.
type Control struct {
	Mutant  string  `json:"mutant"`
	Mode    string  `json:"mode"` // whose rule it breaks
	Found   bool    `json:"found"`
	States  int64   `json:"states"`
	Elapsed float64 `json:"elapsed_seconds"`
}

// Tortured is one run of package torture.
type Tortured struct {
	What   string          `json:"what"`
	Result *torture.Result `json:"result"`
}

// Limits are what making bytes durable takes here, for a lone caller.
type Limits struct {
	Flush bench.Latency   `json:"flush_us"` // after one page
	DSync bench.Latency   `json:"dsync_us"` // one page
	Sync  []bench.SyncRow `json:"sync"`
}

// Fact is one datum about host or stack, as text. Missing says why it could not be read.
type Fact struct {
	Where   string `json:"where"`           // "host", or a place's role
	Layer   int    `json:"layer,omitempty"` // of the stack below a place, from 1; 0 = above it
	What    string `json:"what"`
	Value   string `json:"value"`
	Missing string `json:"missing,omitempty"`
}

// maxProfileBytes bounds what is read of a file somebody else may have written.
const maxProfileBytes = 32 << 20

// ErrNotProfile is a file that is no profile of this schema.
var ErrNotProfile = errors.New("not a profile")

// Read reads a profile. Unknown fields are fine, another schema or verdict is not.
func Read(r io.Reader) (*Profile, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxProfileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxProfileBytes {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrNotProfile, maxProfileBytes)
	}
	p := new(Profile)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotProfile, err)
	}
	if p.Schema != Schema {
		return nil, fmt.Errorf("%w: schema is %.60q, want %q", ErrNotProfile, p.Schema, Schema)
	}
	switch p.Verdict {
	case Certified, NotCertified, Incomplete:
	default:
		return nil, fmt.Errorf("%w: verdict %.60q", ErrNotProfile, p.Verdict)
	}
	seen := map[Fact]bool{}
	for _, f := range p.Facts {
		key := Fact{Where: f.Where, Layer: f.Layer, What: f.What}
		if seen[key] {
			return nil, fmt.Errorf("%w: %s is there twice", ErrNotProfile, f.name())
		}
		seen[key] = true
	}
	return p, nil
}

// WriteJSON writes the profile as Read takes it.
func (p *Profile) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(p); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Save writes the profile to a file so that there is always a whole one: the old, or the new.
func (p *Profile) Save(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	err = errors.Join(p.WriteJSON(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (f *Fact) name() string {
	if f.Layer == 0 {
		return f.Where + ": " + f.What
	}
	return fmt.Sprintf("%s, layer %d: %s", f.Where, f.Layer, f.What)
}
