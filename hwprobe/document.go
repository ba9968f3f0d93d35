package hwprobe

import (
	"bytes"
	"encoding/json"
	"io"
)

// SchemaDocument names the document of hwprobe -json.
const SchemaDocument = "untorn.hwprobe/1"

// Exit codes of the command, and of a Document.
const (
	ExitRelaxed  = 0 // every page asked about, on every path, is relaxed
	ExitRequired = 1 // all were answered, and protection is required for one at least
	ExitUsage    = 2
	ExitUnknown  = 3 // one at least is unknown, or could not be looked at
)

// Document is every answer about a number of Reports, with the Reports themselves.
type Document struct {
	Schema    string   `json:"schema"`
	Exit      int      `json:"exit"`
	PageBytes []int    `json:"page_bytes"`
	Policy    Policy   `json:"policy"`
	Results   []Result `json:"results"`
}

// Result is the answers about one Report.
type Result struct {
	Path       string     `json:"path"`
	Error      string     `json:"error,omitempty"`
	Verdicts   []Verdict  `json:"verdicts"`
	WriteCache WriteCache `json:"write_cache"`
	Notes      []string   `json:"notes,omitempty"`
	Capture    *Report    `json:"capture"`
}

// Evaluate decides every page on every Report. An open question outweighs a definite "required",
// which outweighs "relaxed": see the Exit constants.
func Evaluate(reports []*Report, pages []int, pol Policy) Document {
	doc := Document{Schema: SchemaDocument, Exit: ExitRelaxed, PageBytes: pages, Policy: pol}
	if len(reports) == 0 || len(pages) == 0 {
		doc.Exit = ExitUnknown // nothing was answered
	}
	for _, r := range reports {
		res := Result{Path: r.Path, Error: r.Error, WriteCache: r.WriteCache(), Notes: r.Notes(),
			Capture: r}
		if r.Error != "" {
			doc.Exit = ExitUnknown
		}
		for _, p := range pages {
			v := r.Decide(p, pol)
			doc.Exit = max(doc.Exit, v.Answer.exit())
			res.Verdicts = append(res.Verdicts, v)
		}
		doc.Results = append(doc.Results, res)
	}
	return doc
}

func (a Answer) exit() int {
	switch a {
	case Relaxed:
		return ExitRelaxed
	case Required:
		return ExitRequired
	}
	return ExitUnknown
}

// WriteJSON writes the Document, indented.
func (d Document) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
