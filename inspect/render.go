package inspect

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// size writes a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f == float64(int64(f)) {
		return fmt.Sprintf("%d %s", int64(f), units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// table collects rows and writes them aligned.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, head ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
	fmt.Fprintln(t, strings.Join(head, "\t"))
	return t
}

func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, c)
	}
	fmt.Fprintln(t)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Write writes the summary for people.
func (s *Summary) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", s.Dir, s.Health)
	for _, p := range s.Problems {
		fmt.Fprintf(w, "problem  %s\n", p)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "note     %s\n", n)
	}
	if st := s.State; st != nil {
		fmt.Fprintln(w)
		if err := st.write(w); err != nil {
			return err
		}
	}
	for _, f := range []func(io.Writer) error{s.writeSuper, s.Log.write, s.DWB.Write,
		s.writeFiles} {
		fmt.Fprintln(w)
		if err := f(w); err != nil {
			return err
		}
	}
	return nil
}

func (st *State) write(w io.Writer) error {
	t := table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
	clean := "no"
	if st.Clean {
		clean = "yes"
	}
	t.row("engine", st.EngineID)
	if st.CreatedUnix != 0 {
		t.row("created", time.Unix(st.CreatedUnix, 0).UTC().Format(time.RFC3339))
	}
	t.row("protocol block", size(int64(st.BlockBytes)))
	t.row("epoch", st.Epoch)
	t.row("closed in order", clean)
	if st.Recoveries > 0 {
		t.row("recoveries begun", fmt.Sprintf("%d, the last came to LSN %d", st.Recoveries,
			st.RecoveringLSN))
	}
	t.row("watermark", st.Watermark)
	t.row("log durable", fmt.Sprintf("through LSN %d in epoch %d", st.DurableLSN, st.DurableEpoch))
	t.row("checkpoint", fmt.Sprintf("number %d, redo LSN %d in epoch %d, payload %s", st.Checkpoint,
		st.RedoLSN, st.RedoEpoch, size(int64(st.PayloadBytes))))
	t.row("catalogue", fmt.Sprintf("through LSN %d, next file id %d", st.CatalogLSN, st.NextFile))
	return t.Flush()
}

func (s *Summary) writeSuper(w io.Writer) error {
	t := newTable(w, "SUPER COPY", "SEQUENCE", "EPOCH", "STATE")
	for _, c := range s.Super {
		if c.Valid {
			t.row(c.Copy, c.Sequence, c.Epoch, "valid")
		} else {
			t.row(c.Copy, "-", "-", c.Why)
		}
	}
	return t.Flush()
}

func (l *Log) write(w io.Writer) error {
	t := newTable(w, "LOG SEGMENT", "SIZE", "FIRST LSN", "EPOCH", "GROUPS READ", "STATE")
	for _, s := range l.Segments {
		if s.Why != "" {
			t.row(s.Name, size(s.Bytes), "-", "-", s.Groups, "empty: "+s.Why)
		} else {
			t.row(s.Name, size(s.Bytes), s.FirstLSN, s.Epoch, s.Groups, "ok")
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "log from LSN %d: %d records in %d groups, the last ends at %d in epoch %d; durable through %d and watermark %s by its own word; end: %s\n",
		l.BeginLSN, l.Records, l.Groups, l.LastRecord, l.Epoch, l.Durable, orDash(l.Watermark),
		orDash(l.EndReason))
	if h := l.Headers; h != nil {
		fmt.Fprintf(w, "ring of log headers: %d copies, the newest %d says durable through %d in epoch %d\n",
			h.Copies, h.Newest, h.Durable, h.Epoch)
	}
	for _, c := range l.Cuts {
		why := "cut off by the caller"
		if c.GivenUp {
			why = "given up: the log was corrupt"
		}
		fmt.Fprintf(w, "no records from LSN %d to %d: %s\n", c.From, c.To, why)
	}
	return err
}

// Write writes regions, and slots where there are any.
func (d *DWB) Write(w io.Writer) error {
	t := newTable(w, "DWB REGION", "FRONT", "SECOND", "BACK", "SEQUENCE", "PAGES", "FLUSHED THROUGH",
		"WATERMARK", "USE")
	for _, r := range d.Regions {
		use := "-"
		switch {
		case r.Above:
			use = "above the watermark"
		case r.Seq != "":
			use = "reclaimed"
		}
		t.row(r.Region, r.Front, r.Second, r.Back, orDash(r.Seq), r.Pages, r.F, orDash(r.W), use)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d regions of %s, %d batches above the watermark\n", len(d.Regions),
		size(int64(d.BatchBytes)), d.Above)
	return d.writeSlots(w)
}

func (d *DWB) writeSlots(w io.Writer) error {
	var t table
	for _, r := range d.Regions {
		for _, s := range r.Slots {
			if t.Writer == nil {
				fmt.Fprintln(w)
				t = newTable(w, "REGION", "SLOT", "SEQUENCE", "FILE", "PAGE", "LSN", "SIZE", "CRC",
					"SLOT MATCHES HEADER")
			}
			match := "yes"
			if !s.Matches {
				match = "no: " + s.Why
			}
			t.row(r.Region, s.Slot, r.Seq, s.File, s.Page, s.LSN, size(int64(s.Bytes)), s.CRC,
				match)
		}
	}
	if t.Writer == nil {
		return nil
	}
	return t.Flush()
}

func (s *Summary) writeFiles(w io.Writer) error {
	t := newTable(w, "DATA FILE", "ID", "MODE", "FORMAT", "PAGE", "PAGES", "SIZE", "STAMP", "STATE")
	for _, f := range s.Files {
		state := "ok"
		if f.Why != "" {
			state = f.Why
		}
		t.row(f.Name, f.ID, f.Mode, f.Format, size(int64(f.PageBytes)), f.Pages, size(f.Bytes),
			orDash(f.Stamp), state)
	}
	return t.Flush()
}

// RecordHead is the heading of the columns of Record.Line.
const RecordHead = "START LSN         END LSN       EPOCH  KIND        SIZE  GROUP  SEGMENT"

// Line is a record as one line; a preview of its data follows indented.
func (r *Record) Line() string {
	s := fmt.Sprintf("%12d  %12d  %8d  %-8s  %6d  %5d  %s", r.StartLSN, r.EndLSN, r.Epoch, r.Kind,
		r.Bytes, r.Group, r.Segment)
	if r.Change != "" {
		s += "  " + r.Change
	}
	if r.Cut {
		s += "  cut off"
	}
	if r.Data != "" {
		b, _ := hex.DecodeString(r.Data) // it was encoded here
		s += "\n" + strings.TrimRight(indent(hex.Dump(b)), " ")
	}
	return s
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
