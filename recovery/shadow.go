package recovery

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// Mode shadow: every page has two sources, the doublewrite buffer and the log's images. Recovery
// works out what each alone would choose, compares, and repairs from the one it was told to.

// Class says how the choices of the two sources relate.
type Class uint8

// The classes.
const (
	// Equal: both choose one image, or both call the page lost.
	Equal Class = iota
	// LogAhead is legal: the log's image is made durable first.
	LogAhead
	// Unordered: the LSNs are equal or of no space, and the log does not hold what the doublewrite
	// buffer chooses: that it was written before the last checkpoint is legal, and cannot be seen.
	Unordered
	// DWBAhead is a violation: a copy was written before the image of it was durable.
	DWBAhead
	Classes
)

var classNames = [...]string{"equal", "log ahead", "unordered", "doublewrite ahead"}

func (c Class) String() string { return classNames[c] }

// choice is what one source alone makes of a page.
type choice struct {
	d    Decision
	lost bool
	lsn  page.LSN
	crc  uint32
}

// compare decides a page by each source alone, and says how they relate. history are all images of
// the page that count, oldest first. It is pure.
func compare(copies []Copy, img *Image, history []imageKey, dest Destination, w, f reclaim.Seq) (dwb, log choice, c Class) {
	dwb = choose(Decide(copies, nil, dest, w, f), copies, img, dest)
	log = choose(Decide(nil, img, dest, w, f), copies, img, dest)
	switch {
	case dwb.lost && log.lost, !dwb.lost && !log.lost && dwb.crc == log.crc:
		return dwb, log, Equal
	case dwb.lost:
		return dwb, log, LogAhead
	case log.lost:
		return dwb, log, DWBAhead
	}
	if comparable := img == nil || img.SameLSN; comparable && dwb.lsn != log.lsn {
		if dwb.lsn < log.lsn {
			return dwb, log, LogAhead
		}
		return dwb, log, DWBAhead
	}
	for _, h := range history {
		if h.crc == dwb.crc && h.lsn == dwb.lsn {
			return dwb, log, LogAhead // it is an older image of the log
		}
	}
	return dwb, log, Unordered
}

func choose(d Decision, copies []Copy, img *Image, dest Destination) choice {
	switch d.Source {
	case Lost:
		return choice{d: d, lost: true}
	case FromSlot, Rebuild:
		return choice{d: d, lsn: copies[d.Copy].LSN, crc: copies[d.Copy].CRC}
	case FromImage:
		return choice{d: d, lsn: img.LSN, crc: img.CRC}
	}
	return choice{d: d, lsn: dest.LSN, crc: dest.CRC}
}

// repair is the choice to be carried out. What one source calls lost is taken from the other: its
// image is proven, too, and no older.
func repair(dwb, log choice, fromLog bool) Decision {
	first, second := dwb, log
	if fromLog {
		first, second = log, dwb
	}
	if first.lost && !second.lost {
		return second.d
	}
	return first.d
}

// ShadowReport compares the two sources of files in mode shadow.
type ShadowReport struct {
	Repaired  string       `json:"repaired_from"` // "doublewrite" or "log"
	Equal     int          `json:"equal"`
	LogAhead  int          `json:"log_ahead"`
	Unordered int          `json:"unordered"`
	DWBAhead  int          `json:"doublewrite_ahead"` // violations
	Pages     []ShadowPage `json:"pages"`             // where they differ
}

// ShadowPage is a page of which the two sources choose different images.
type ShadowPage struct {
	File   string `json:"file"`
	FileID uint32 `json:"file_id"`
	Page   uint64 `json:"page"`
	Class  string `json:"class"`
	// Case, LSN and CRC of what each would choose; "lost" where it has nothing.
	DWBCase string `json:"doublewrite_case"`
	DWBLSN  uint64 `json:"doublewrite_lsn"`
	DWBCRC  string `json:"doublewrite_crc"`
	LogCase string `json:"log_case"`
	LogLSN  uint64 `json:"log_lsn"`
	LogCRC  string `json:"log_crc"`
}

func (r *ShadowReport) add(o *Outcome, dwb, log choice, c Class) {
	switch c {
	case Equal:
		r.Equal++
		return
	case LogAhead:
		r.LogAhead++
	case Unordered:
		r.Unordered++
	case DWBAhead:
		r.DWBAhead++
	}
	r.Pages = append(r.Pages, ShadowPage{
		File: o.File, FileID: o.FileID, Page: o.Page, Class: c.String(),
		DWBCase: string(dwb.d.Case), DWBLSN: uint64(dwb.lsn), DWBCRC: dwb.sum(),
		LogCase: string(log.d.Case), LogLSN: uint64(log.lsn), LogCRC: log.sum(),
	})
}

func (c choice) sum() string {
	if c.lost {
		return "lost"
	}
	return fmt.Sprintf("%08x", c.crc)
}

// Table writes the comparison for people.
func (r *ShadowReport) Table(w io.Writer) error {
	fmt.Fprintf(w, "shadow       repaired from %s; of both sources %d pages equal, %d log ahead (legal), %d unordered, %d doublewrite ahead (violations)\n",
		r.Repaired, r.Equal, r.LogAhead, r.Unordered, r.DWBAhead)
	if len(r.Pages) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tPAGE\tCLASS\tDOUBLEWRITE\tLSN\tCRC\tLOG\tLSN\tCRC")
	for _, p := range r.Pages {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n", p.File, p.Page, p.Class, p.DWBCase, p.DWBLSN, p.DWBCRC, p.LogCase, p.LogLSN, p.LogCRC)
	}
	return t.Flush()
}
