package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/walstage"
)

// Segment is a segment somewhere: in the archive, or in a directory.
type Segment struct {
	*walstage.Checked
	Path string
	Part bool  // it was not finished
	Err  error // why it is not one; then Checked may be nil
}

// Scan reads and checks every segment of a directory, in order. visit, if not nil, is told of each.
func Scan(ctx context.Context, dir string, visit func(name string)) ([]Segment, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Segment
	for _, x := range list {
		name := strings.TrimSuffix(x.Name(), partSuffix)
		if !strings.HasSuffix(name, walstage.Suffix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if visit != nil {
			visit(x.Name())
		}
		s := Segment{Path: filepath.Join(dir, x.Name()), Part: name != x.Name()}
		s.Checked, s.Err = check(s.Path)
		out = append(out, s)
	}
	return out, nil
}

// Problem is what is wrong with an archive.
type Problem struct {
	Segment string   `json:"segment"`
	LSN     page.LSN `json:"lsn"` // nothing from here on can be restored past it
	What    string   `json:"what"`
}

// Report says what an archive holds.
type Report struct {
	Schema   int       `json:"schema"`
	Dir      string    `json:"dir"`
	OK       bool      `json:"ok"`
	EngineID string    `json:"engine_id"`
	Segments int       `json:"segments"`
	Records  int64     `json:"records"`
	Bytes    int64     `json:"bytes"`
	FirstLSN uint64    `json:"first_lsn"`
	LastLSN  uint64    `json:"last_lsn"` // the end of the last record that follows the first without a gap
	Problems []Problem `json:"problems"`
}

// Verify reads the whole archive and checks that its segments follow each other.
func Verify(ctx context.Context, dir string, visit func(name string)) (*Report, error) {
	list, err := Scan(ctx, dir, visit)
	if err != nil {
		return nil, err
	}
	r := &Report{Schema: 1, Dir: dir, Problems: []Problem{}}
	var last *Segment
	for i := range list {
		s := &list[i]
		if s.Part && i > 0 && list[i-1].Path+partSuffix == s.Path {
			continue // a crash kept it beside the finished one
		}
		err := s.Err
		if err == nil && last == nil {
			r.EngineID, r.FirstLSN = fmt.Sprintf("%x", s.Engine), uint64(s.First)
		}
		if err == nil && last != nil {
			err = s.Follows(last.Checked)
		}
		if err != nil {
			p := Problem{Segment: filepath.Base(s.Path), LSN: page.LSN(r.LastLSN), What: err.Error()}
			r.Problems = append(r.Problems, p)
			if s.Err != nil {
				continue
			}
		}
		r.Segments++
		r.Records += s.Records
		r.Bytes += s.Length
		if len(r.Problems) == 0 {
			r.LastLSN = uint64(max(s.Last, page.LSN(r.LastLSN)))
		}
		last = s
	}
	r.OK = len(r.Problems) == 0
	return r, nil
}
