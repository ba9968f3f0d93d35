package hwprobe

import "slices"

// Answer is what a Verdict says.
type Answer string

const (
	Relaxed  Answer = "relaxed"  // no second copy of a page is needed
	Required Answer = "required" // keep doublewrite (or page images)
	Unknown  Answer = "unknown"  // not proven: keep doublewrite
)

// Kinds of relaxed.
const (
	Hardware = "hardware" // one command the drive promises whole across a power cut
	Software = "software" // the file system's copy-on-write: whole, but slower
)

// Policy is what a caller accepts beyond what is proven. The zero Policy accepts nothing.
type Policy struct {
	// TrustAWUPF takes the controller's AWUPF for a promise where the namespace makes none of its
	// own (rule 11g). Many drives leave it at a value they do not keep across formats.
	TrustAWUPF bool `json:"trust_awupf,omitempty"`
	// TrustEmulated takes an emulated or virtual drive's number for a promise (rules 8, 11b and
	// 12). It is for test beds: such a number says nothing about a power cut.
	TrustEmulated bool `json:"trust_emulated,omitempty"`
	// HardwareOnly turns "relaxed, software" into "required".
	HardwareOnly bool `json:"hardware_only,omitempty"`
}

// Outcome is what one rule found.
type Outcome string

const (
	Pass          Outcome = "pass"
	NotApplicable Outcome = "n/a"
	// Unread: a datum the rule needs is missing. It decides nothing by itself, but no later rule
	// may then say relaxed.
	Unread Outcome = "unread"
	// The outcomes that decide.
	SaysRequired Outcome = "required"
	SaysUnknown  Outcome = "unknown"
	SaysRelaxed  Outcome = "relaxed"
)

func (o Outcome) decides() bool { return o == SaysRequired || o == SaysUnknown || o == SaysRelaxed }

// RuleResult is one line of the rule table, for one page size.
type RuleResult struct {
	Rule    string  `json:"rule"`
	Title   string  `json:"title"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
}

// Verdict answers for one page size and for a writer whose every page write carries RWF_ATOMIC.
// Writers says what it means for others.
type Verdict struct {
	PageBytes int             `json:"page_bytes"`
	Answer    Answer          `json:"answer"`
	Kind      string          `json:"kind,omitempty"` // Hardware or Software, if relaxed
	Rule      string          `json:"rule"`           // the deciding one
	Reason    string          `json:"reason"`         // one sentence for a person
	Next      []string        `json:"next,omitempty"` // what would change the answer
	Accepted  []string        `json:"accepted,omitempty"`
	Rules     []RuleResult    `json:"rules"`
	Writers   []WriterVerdict `json:"writers"`
}

// Relaxed tells whether a writer that uses RWF_ATOMIC may do without a second copy.
func (v Verdict) Relaxed() bool { return v.Answer == Relaxed }

// decision is the state of one walk down the rules.
type decision struct {
	r        *Report
	asked    int
	p        uint64 // at least 1, so that it can divide
	pol      Policy
	st       *stack
	results  []RuleResult
	kind     string
	accepted []string
}

// Decide walks the rules in order. The first that decides is the verdict; the others' outcomes
// are listed all the same. It reads nothing but the Report.
func (r *Report) Decide(pageSize int, pol Policy) Verdict {
	d := &decision{r: r, asked: pageSize, p: uint64(max(pageSize, 1)), pol: pol, st: r.stack()}
	v := Verdict{PageBytes: pageSize, Answer: Unknown}
	decided := -1
	for _, ru := range rules {
		out, detail := ru.eval(d)
		d.results = append(d.results, RuleResult{ru.id, ru.title, out, detail})
		if decided < 0 && out.decides() {
			decided = len(d.results) - 1
			v.Kind, v.Accepted = d.kind, slices.Clone(d.accepted)
		}
	}
	if decided < 0 { // rule 14 always decides; a hole in the table must not read as a yes
		decided = len(d.results) - 1
	}
	last := d.results[decided]
	v.Answer, v.Rule, v.Reason = Answer(last.Outcome), last.Rule, last.Detail
	if v.Answer != Relaxed {
		v.Kind, v.Accepted = "", nil
	}
	if open := firstUnread(d.results[:decided]); v.Answer == Unknown && open != nil {
		v.Rule, v.Reason = open.Rule, "could not be read: "+open.Detail
	}
	v.Rules = d.results
	v.Next = nextSteps(d, v)
	v.Writers = writers(d, v)
	return v
}

// firstUnread is the first rule that lacked a datum: nil if none did.
func firstUnread(rs []RuleResult) *RuleResult {
	for i := range rs {
		if rs[i].Outcome == Unread {
			return &rs[i]
		}
	}
	return nil
}

// accept records that the policy was used, for the verdict to say so.
func (d *decision) accept(what string) {
	if !slices.Contains(d.accepted, what) {
		d.accepted = append(d.accepted, what)
	}
}
