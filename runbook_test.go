package untorn_test

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// errorsOf lists the exported Err variables of a package's folder.
func errorsOf(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, d := range declarations(t, dir, false) {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			for _, id := range s.(*ast.ValueSpec).Names {
				if strings.HasPrefix(id.Name, "Err") {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}

var (
	namedError   = regexp.MustCompile("`(?:([a-z]+)\\.)?(Err[A-Z][A-Za-z]*)`")
	namedCommand = regexp.MustCompile("untornctl ([a-z-]+)")
	oneCommand   = regexp.MustCompile(`name: "([a-z-]+)"`)
)

// runbookComplaints checks that a runbook has a row for each error, and that what it names is there.
func runbookComplaints(t *testing.T, text string, want []string) (complaints []string) {
	rows := map[string]bool{}
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "| `") && !strings.HasPrefix(l, "| a") || strings.Count(l, " | ") < 2 {
			continue
		}
		cells := strings.Split(strings.Trim(l, "|"), " | ")
		if len(cells) != 4 || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			complaints = append(complaints, "not an error, what it means, what is safe and what is lost: "+l)
			continue
		}
		for _, m := range namedError.FindAllStringSubmatch(cells[0], -1) {
			rows[strings.TrimPrefix(m[1]+"."+m[2], ".")] = true
		}
	}
	for _, name := range want {
		if !rows[name] {
			complaints = append(complaints, "no row for "+name+": say what it means, what is safe to do, what is lost if")
		}
	}
	known := map[string][]string{"": want}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		dir, id, ok := strings.Cut(name, ".")
		if !ok {
			dir, id = "", name
		} else if known[dir] == nil {
			known[dir] = errorsOf(t, dir)
		}
		if !slices.Contains(known[dir], id) {
			complaints = append(complaints, "no such error: "+name)
		}
	}
	var commands []string
	files, _ := filepath.Glob("cmd/untornctl/*.go")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range oneCommand.FindAllSubmatch(b, -1) {
			commands = append(commands, string(m[1]))
		}
	}
	for _, m := range namedCommand.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(commands, m[1]) {
			complaints = append(complaints, "no such command: "+m[0])
		}
	}
	return complaints
}

// TestRunbookNamesErrors: every error this package exports is in docs/runbook.md, and every error and
// command there exists.
func TestRunbookNamesErrors(t *testing.T) {
	b, err := os.ReadFile("docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	text, want := string(b), errorsOf(t, ".")
	if len(want) < 30 {
		t.Fatalf("only %d errors found", len(want))
	}
	for _, c := range runbookComplaints(t, text, want) {
		t.Error("docs/runbook.md: " + c)
	}
	// And it can complain.
	for what, change := range map[string]func() (string, []string){
		"an error without a row": func() (string, []string) { return text, append(slices.Clone(want), "ErrNew") },
		"a row without an error": func() (string, []string) {
			return strings.ReplaceAll(text, "`ErrBehind`", "`ErrBehinds`"), want
		},
		"an error of nowhere": func() (string, []string) {
			return strings.ReplaceAll(text, "`super.ErrDisagree`", "`super.ErrAgree`"), want
		},
		"an empty cell":       func() (string, []string) { return text + "\n| `ErrRedo` | it |  | nothing |\n", want },
		"a command of nobody": func() (string, []string) { return text + "\nuntornctl repair D\n", want },
	} {
		if x, w := change(); len(runbookComplaints(t, x, w)) == 0 {
			t.Errorf("%s: no complaint", what)
		}
	}
}
