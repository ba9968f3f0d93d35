package archive

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/untorn/untorn/walstage"
)

// Archived says what PutDir did.
type Archived struct {
	Schema   int    `json:"schema"`
	Archive  string `json:"archive"`
	Log      string `json:"log"`
	EngineID string `json:"engine_id"`
	Segments int    `json:"segments"` // finished ones that are in the archive now
	Partial  string `json:"partial,omitempty"`
	EndLSN   uint64 `json:"end_lsn"` // the archive has records through here
}

// PutDir archives the segments of a log directory: those that the log goes on behind, and with partial
// the last one too, as far as it goes. Without partial the log may be of a running engine; nothing
// keeps a segment from being recycled meanwhile, which is noticed, and is an error.
func (d *Dir) PutDir(ctx context.Context, log string, partial bool, visit func(name string)) (*Archived, error) {
	list, err := Scan(ctx, log, nil)
	if err != nil {
		return nil, err
	}
	r := &Archived{Schema: 1, Archive: d.path, Log: log}
	for i := range list {
		s := &list[i]
		if s.Err != nil || s.Groups == 0 {
			continue // made ahead, or the remains of an older life
		}
		var next *walstage.Checked
		if i+1 < len(list) && list[i+1].Err == nil && list[i+1].Groups > 0 {
			next = list[i+1].Checked
		}
		if next != nil {
			if err := next.Follows(s.Checked); err != nil {
				return r, fmt.Errorf("%s: %w: %w", filepath.Base(list[i+1].Path), ErrChain, err)
			}
		} else if !partial {
			continue
		}
		if visit != nil {
			visit(filepath.Base(s.Path))
		}
		if err := d.PutFile(ctx, s.Path, s.Checked, next != nil); err != nil {
			return r, err
		}
		r.EngineID, r.EndLSN = fmt.Sprintf("%x", s.Engine), uint64(s.Last)
		if next != nil {
			r.Segments++
		} else {
			r.Partial = walstage.SegmentName(s.Seq) + partSuffix
		}
	}
	return r, nil
}
