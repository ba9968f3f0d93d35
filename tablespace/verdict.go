package tablespace

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Finding is one page, or one file, that is not as it should be.
type Finding struct {
	File   string `json:"file"` // below the path that was asked for
	Page   uint64 `json:"page"` // in this file, from 0
	Offset int64  `json:"offset"`
	What   string `json:"what"`
	// Whole says that it is the file, not one page of it.
	Whole bool `json:"whole_file,omitempty"`
}

// File is what was found out about one data file.
type File struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	PageBytes int    `json:"page_bytes"`
	Pages     uint64 `json:"pages"`
	Empty     uint64 `json:"pages_empty"`     // all zeros, which both systems take for new
	Damaged   uint64 `json:"pages_damaged"`   //
	Unchecked uint64 `json:"pages_unchecked"` // no checksum covers them
	// Free pages that do not check: nothing uses them, so nothing is lost.
	Free uint64 `json:"pages_free_and_damaged,omitempty"`
	// Why names the reasons for unchecked pages.
	Why string `json:"unchecked_because,omitempty"`
}

// Verdict is what a check found. OK means that nothing is damaged; look at Unchecked for what could
// not be told.
type Verdict struct {
	Schema   int       `json:"schema"`
	Format   string    `json:"format"`
	Path     string    `json:"path"`
	OK       bool      `json:"ok"`
	InUse    bool      `json:"in_use"`
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"`
	Files    []File    `json:"files"`

	Pages     uint64  `json:"pages"`
	Bytes     int64   `json:"bytes"`
	Empty     uint64  `json:"pages_empty"`
	Damaged   uint64  `json:"pages_damaged"`
	Unchecked uint64  `json:"pages_unchecked"`
	Free      uint64  `json:"pages_free_and_damaged"`
	Reread    uint64  `json:"pages_whole_when_read_again"`
	Seconds   float64 `json:"seconds"`
}

// maxFindings bounds the list; the counts go on.
const maxFindings = 10000

func (v *Verdict) note(format string, a ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, a...))
}

// finish sorts, adds up and decides.
func (v *Verdict) finish() {
	slices.SortFunc(v.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Page, b.Page))
	})
	whole := 0
	for i := range v.Findings {
		if v.Findings[i].Whole {
			whole++
		}
	}
	for i := range v.Files {
		f := &v.Files[i]
		v.Pages += f.Pages
		v.Bytes += int64(f.Pages) * int64(f.PageBytes)
		v.Empty += f.Empty
		v.Damaged += f.Damaged
		v.Unchecked += f.Unchecked
		v.Free += f.Free
	}
	if v.Free > 0 {
		v.note("%d pages do not check and are free, by the file's own account: nothing uses them, but something wrote there", v.Free)
	}
	if n := v.Damaged + uint64(whole); n > uint64(len(v.Findings)) {
		v.note("%d damaged pages in all; %d are listed", v.Damaged, len(v.Findings)-whole)
	}
	v.OK = v.Damaged == 0 && len(v.Findings) == 0
}

// maxLines is how many findings a person is shown.
const maxLines = 20

// Write writes the verdict for people: the files that deserve a line, then the findings.
func (v *Verdict) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d files of %s, %d pages (%s), %.1f s\n", v.Path, len(v.Files), v.Format, v.Pages,
		size(v.Bytes), v.Seconds)
	for _, n := range v.Notes {
		fmt.Fprintf(w, "note  %s\n", n)
	}
	if err := v.table(w); err != nil {
		return err
	}
	for i, f := range v.Findings {
		if i == maxLines {
			fmt.Fprintf(w, "damaged  %d more; -json lists them\n", len(v.Findings)-i)
			break
		}
		if f.Whole {
			fmt.Fprintf(w, "damaged  %s: %s\n", f.File, f.What)
		} else {
			fmt.Fprintf(w, "damaged  page %d of %s (byte %d): %s\n", f.Page, f.File, f.Offset, f.What)
		}
	}
	fmt.Fprintf(w, "%d pages sound, %d of them empty; %d damaged, %d without a checksum to compare",
		v.Pages-v.Damaged-v.Unchecked-v.Free, v.Empty, v.Damaged, v.Unchecked)
	if v.Reread > 0 {
		fmt.Fprintf(w, "; %d looked damaged once and were whole when read again", v.Reread)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// table lists the files that have something to say: all where there are few, else those with
// damaged or unchecked pages.
func (v *Verdict) table(w io.Writer) error {
	var rows []*File
	for i := range v.Files {
		if f := &v.Files[i]; len(v.Files) <= 24 || f.Damaged+f.Unchecked > 0 {
			rows = append(rows, f)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "PAGES\tEMPTY\tDAMAGED\tUNCHECKED\tPAGE\t  FILE")
	for i, f := range rows {
		if i == maxLines {
			break
		}
		why := ""
		if f.Why != "" {
			why = "; unchecked: " + f.Why
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%s\t  %s (%s%s)\n", f.Pages, f.Empty, f.Damaged, f.Unchecked,
			size(int64(f.PageBytes)), f.Name, f.Kind, why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(rows) > maxLines {
		_, err := fmt.Fprintf(w, "  and %d more files; -json lists them\n", len(rows)-maxLines)
		return err
	}
	return nil
}

// size in the largest unit that leaves a number above 1.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
