package recovery

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Outcome is what recovery did with one page.
type Outcome struct {
	File     string `json:"file"`
	FileID   uint32 `json:"file_id"`
	Page     uint64 `json:"page"`
	Case     string `json:"case"` // row of the decision table
	Source   string `json:"source"`
	Seq      string `json:"sequence,omitempty"`
	LSN      uint64 `json:"lsn"`
	WasWhole bool   `json:"destination_whole"`
	WasLSN   uint64 `json:"destination_lsn"`
	Reason   string `json:"reason"`
	// ImageLSN is where the record of the page's newest image in the log starts.
	ImageLSN uint64 `json:"image_record_lsn,omitempty"`
}

// LogReport is what happened to the log.
type LogReport struct {
	Start          uint64 `json:"start_lsn"`
	End            uint64 `json:"end_lsn"`
	DurableKnown   uint64 `json:"durable_evidence_lsn"`
	DiscardedBytes int64  `json:"discarded_bytes"`
	RewrittenBytes int64  `json:"rewritten_bytes"`
	ReadBytes      int64  `json:"read_bytes"`
}

// Report says what an open found and did.
type Report struct {
	Schema         int       `json:"schema"`
	Clean          bool      `json:"clean"` // closed in order before: nothing to do
	Epoch          uint64    `json:"epoch"`
	Watermark      string    `json:"watermark"`
	FlushedThrough string    `json:"flushed_through"`
	Log            LogReport `json:"log"`
	DWBBytes       int64     `json:"doublewrite_bytes"`
	Images         int64     `json:"page_images"`      // in the log, that count
	ImageBytes     int64     `json:"page_image_bytes"` // of their records
	Pages          []Outcome `json:"pages"`
	Lost           []Outcome `json:"lost"`
	Fetched        int       `json:"fetched"` // would be lost, had they not come from elsewhere
	Installed      int       `json:"installed"`
	Same           int       `json:"already_same"`
	Ignored        int       `json:"ignored_of_removed_files"`
	// Shadow compares the sources of files in mode shadow; nil if there are none.
	Shadow *ShadowReport `json:"shadow,omitempty"`
	Faults []string      `json:"faults,omitempty"`
	Took   time.Duration `json:"took_ns"`
}

// Table writes the report for people.
func (r *Report) Table(w io.Writer) error {
	if r.Clean {
		_, err := fmt.Fprintf(w, "closed in order; nothing to recover (epoch %d, log end %d)\n", r.Epoch, r.Log.End)
		return err
	}
	fmt.Fprintf(w, "log          %d to %d, durable by evidence through %d, %d bytes discarded, %d rewritten\n",
		r.Log.Start, r.Log.End, r.Log.DurableKnown, r.Log.DiscardedBytes, r.Log.RewrittenBytes)
	fmt.Fprintf(w, "doublewrite  watermark %s, flushed through %s; %d pages named, %d written (%d of them looked the same), %d lost\n",
		r.Watermark, r.FlushedThrough, len(r.Pages), r.Installed, r.Same, len(r.Lost))
	if r.Images > 0 {
		fmt.Fprintf(w, "page images  %d in the log, %d bytes\n", r.Images, r.ImageBytes)
	}
	if r.Shadow != nil {
		if err := r.Shadow.Table(w); err != nil {
			return err
		}
	}
	if r.Fetched > 0 {
		fmt.Fprintf(w, "fetched      %d pages were lost and came from elsewhere\n", r.Fetched)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(w, "fault        %s\n", f)
	}
	if len(r.Pages) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tPAGE\tCASE\tSOURCE\tSEQUENCE\tLSN\tDESTINATION WAS\tREASON")
	for _, p := range r.Pages {
		was := "damaged"
		if p.WasWhole {
			was = fmt.Sprintf("whole, LSN %d", p.WasLSN)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\n", p.File, p.Page, p.Case, p.Source, p.Seq, p.LSN, was, p.Reason)
	}
	return t.Flush()
}
