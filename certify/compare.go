package certify

import (
	"fmt"
	"strings"
)

// Severity of a change.
type Severity string

// The severities, worst first.
const (
	// Void: the certificate does not hold for what is there now. Certify again.
	Void Severity = "void"
	// Unread: what would void it could be read then and cannot be now.
	Unread Severity = "unread"
	// Look: it may matter; a person decides.
	Look Severity = "look"
	// Note: it does not matter for what was certified.
	Note Severity = "note"
)

var ranks = map[Severity]int{Void: 0, Unread: 1, Look: 2, Note: 3}

// Change is one difference between a profile's facts and those of today.
type Change struct {
	Severity Severity `json:"severity"`
	Where    string   `json:"where"`
	Layer    int      `json:"layer,omitempty"`
	What     string   `json:"what"`
	Was      string   `json:"was"`
	Is       string   `json:"is"`
	Why      string   `json:"why"`
}

// weight says what a change of a fact means.
type weight struct {
	severity Severity
	why      string
	// atomic: it has this severity where pages are written without a second copy, else it is a Look.
	atomic bool
}

// weights by name of the fact. What is not here is a Note; a test holds this against facts.go.
var weights = map[string]weight{
	"machine":          {Void, "it is another machine", false},
	"operating system": {Void, "another system", false},
	"architecture":     {Void, "another architecture", false},
	"engine revision":  {Look, "explored was another revision of the engine: certify again before it goes to work", false},
	"backend":          {Look, "I/O goes another way: both are tested, the certificate saw one", false},
	"RLIMIT_MEMLOCK":   {Look, "page memory may no longer be registered with the kernel: slower, not unsafe", false},
	"RLIMIT_NOFILE":    {Look, "too few descriptors end in refused opens", false},
	"RLIMIT_FSIZE":     {Look, "files may stop growing", false},

	"direct I/O opens":                    {Void, "without O_DIRECT everything goes through the page cache", false},
	"direct I/O offset alignment":         {Void, "the protocol block may be too small", false},
	"direct I/O memory alignment":         {Look, "buffers are aligned by it", false},
	"atomic write unit, least":            {Void, "the kernel takes other sizes whole", true},
	"atomic write unit, most":             {Void, "the kernel takes other sizes whole", true},
	"atomic write unit, most in hardware": {Void, "what was hardware may be copy on write now, or the other way round", true},
	"path":                                {Look, "the profile is of another directory", false},
	"file system":                         {Void, "another file system", false},
	"mount source":                        {Look, "device names move; the layers below say whether it is the same", false},
	"mount point":                         {Look, "the same file system somewhere else, or another one", false},
	"mount options that matter":           {Void, "what a flush or a write means may have changed", false},
	"flushes":                             {Void, "a flush is worth something else", false},
	"stack":                               {Void, "other layers lie between file and drive", false},

	"driver":                       {Void, "another driver sends the flushes", false},
	"size in sectors":              {Look, "a volume was resized, or is another one", false},
	"logical block":                {Void, "torn writes have another grain", false},
	"physical block":               {Void, "what is acknowledged may share a block with what is written later", false},
	"kernel's write cache setting": {Void, "it decides whether flushes are sent at all", false},
	"FUA":                          {Look, "a DSYNC write becomes durable another way", false},
	"queue's atomic unit":          {Void, "the device takes other sizes whole", true},
	"queue's atomic boundary":      {Void, "a boundary may cut pages", true},
	"zoned":                        {Void, "pages may not be written in place", false},
	"partition start":              {Void, "pages may lie across blocks of the drive", false},
	"device-mapper table":          {Void, "pages are mapped to other places", false},
	"RAID level":                   {Void, "writes go to other places", false},
	"RAID chunk":                   {Void, "pages may be cut", false},
	"RAID members missing":         {Look, "the array is degraded, or whole again", false},
	"loop file":                    {Void, "another file lies below", false},
	"loop file's file system":      {Void, "another file system lies below", false},
	"transport":                    {Void, "the drive is reached another way", false},
	"vendor":                       {Void, "another drive", false},
	"model":                        {Void, "another drive", false},
	"firmware":                     {Void, "caches and atomic writes are the firmware's work", false},
	"identity":                     {Void, "another drive of the same model", false},
	"cache type":                   {Void, "what a flush means to the drive", false},
	"volatile write cache (VWC)":   {Void, "a cache that loses its contents came or went", false},
	"AWUPF":                        {Void, "what the drive promises whole", true},
	"NSFEAT":                       {Void, "what the drive promises whole", true},
	"NAWUPF":                       {Void, "what the drive promises whole", true},
	"NABSPF":                       {Void, "what the drive promises whole", true},
	"NABO":                         {Void, "what the drive promises whole", true},
	"SCSI atomic blocks":           {Void, "what the drive promises whole", true},
	"formatted block":              {Void, "the drive was formatted anew", false},
	"io_uring_disabled":            {Look, "io_uring may be refused: the threaded backend takes over", false},
}

const (
	factKernel = "kernel"
	factAtomic = "atomic writes of " // and so many bytes
	factStack  = "stack"
)

// weigh says what it means that a fact changed.
func weigh(what, was, is string, atomic bool) (Severity, string) {
	switch {
	case what == factKernel && series(was) != series(is):
		return Void, "another kernel series: block layer and file system are other code"
	case what == factKernel:
		return Look, "another build of the same kernel series"
	case strings.HasPrefix(what, factAtomic) && atomic:
		return Void, "whether a page may go without a second copy"
	}
	w, ok := weights[what]
	switch {
	case !ok:
		return Note, ""
	case w.atomic && !atomic:
		return Look, w.why + " (pages have a second copy here)"
	}
	return w.severity, w.why
}

// series is "6.18" of "6.18.44-cloud".
func series(release string) string {
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, "-")
	return major + "." + minor
}

// Compare holds the facts of today against a profile's. It is pure. Changes come worst first, and
// in the order of the profile's facts.
func Compare(p *Profile, now []Fact) []Change {
	atomic := p.Config.withoutCopy()
	var out []Change
	differ := map[string]bool{} // places whose layers cannot be told from each other any more
	is := map[Fact]Fact{}
	for _, f := range now {
		is[f.key()] = f
	}
	for _, f := range p.Facts {
		if n, ok := is[f.key()]; ok && f.What == factStack && f.Value != n.Value {
			differ[f.Where] = true
		}
	}
	known := map[Fact]bool{}
	for _, f := range p.Facts {
		known[f.key()] = true
		if f.Layer > 0 && differ[f.Where] {
			continue
		}
		n, there := is[f.key()]
		if !there {
			n.Missing = "not there any more"
		}
		if c, ok := change(f, n, atomic); ok {
			out = append(out, c)
		}
	}
	for _, n := range now {
		if known[n.key()] || n.Layer > 0 && differ[n.Where] || n.Missing != "" {
			continue
		}
		f := n.key()
		f.Missing = "not there"
		if c, ok := change(f, n, atomic); ok {
			out = append(out, c)
		}
	}
	sorted := make([]Change, 0, len(out))
	for _, s := range []Severity{Void, Unread, Look, Note} {
		for _, c := range out {
			if c.Severity == s {
				sorted = append(sorted, c)
			}
		}
	}
	return sorted
}

func (f *Fact) key() Fact { return Fact{Where: f.Where, Layer: f.Layer, What: f.What} }

func change(was, is Fact, atomic bool) (Change, bool) {
	c := Change{Where: was.Where, Layer: was.Layer, What: was.What, Was: was.text(), Is: is.text()}
	c.Severity, c.Why = weigh(was.What, was.Value, is.Value, atomic)
	switch {
	case was.Missing != "" && is.Missing != "", was.Missing == "" && is.Missing == "" && was.Value == is.Value:
		return c, false
	case was.Missing != "":
		c.Severity, c.Why = Note, "it could not be read for the certificate"
	case is.Missing != "" && c.Severity == Void:
		c.Severity, c.Why = Unread, "it cannot be read now, and a change would void the certificate"
	case is.Missing != "":
		c.Severity, c.Why = Note, "it cannot be read now"
	}
	return c, true
}

func (f *Fact) text() string {
	if f.Missing != "" {
		return "? (" + f.Missing + ")"
	}
	return f.Value
}

// Worst is the worst severity among changes, "" if there are none.
func Worst(cs []Change) Severity {
	worst := Severity("")
	for _, c := range cs {
		if worst == "" || ranks[c.Severity] < ranks[worst] {
			worst = c.Severity
		}
	}
	return worst
}

// String is one line for a person.
func (c Change) String() string {
	where := c.Where
	if c.Layer > 0 {
		where = fmt.Sprintf("%s, layer %d", c.Where, c.Layer)
	}
	s := fmt.Sprintf("%-6s  %s: %s: %s -> %s", c.Severity, where, c.What, c.Was, c.Is)
	if c.Why != "" {
		s += " (" + c.Why + ")"
	}
	return s
}
