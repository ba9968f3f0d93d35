package untorn_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/untorn/untorn/explore"
)

// testsIn lists the tests and fuzz targets of a package's folder.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, d := range declarations(t, dir, true) {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// declarations are those of a package's folder, of its tests or of the rest.
func declarations(t *testing.T, dir string, tests bool) (all []ast.Decl) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f.Decls...)
	}
	if len(all) == 0 {
		t.Errorf("no declarations in folder %q (tests: %v)", dir, tests)
	}
	return all
}

var (
	namedTest   = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	namedMutant = regexp.MustCompile("mutant `([a-z-]+)`")
)

// contractComplaints checks a document whose tables end in a column of tests and mutants.
func contractComplaints(t *testing.T, text string) (rows int, complaints []string) {
	tests := map[string][]string{}
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		cells := strings.Split(strings.Trim(l, "|"), "|")
		if !strings.HasPrefix(l, "|") || strings.HasPrefix(l, "|-") || strings.Contains(l, "| shown by |") {
			continue
		}
		rows++
		if len(cells) != 5 {
			complaints = append(complaints, "not five cells: "+l)
			continue
		}
		shown := cells[4]
		found := namedTest.FindAllStringSubmatch(shown, -1)
		mutants := namedMutant.FindAllStringSubmatch(shown, -1)
		if len(found) == 0 {
			complaints = append(complaints, "no test: "+l)
		}
		if n := strings.Count(shown, "`") / 2; n != len(found)+len(mutants) {
			complaints = append(complaints, "names that are neither test nor mutant: "+shown)
		}
		for _, m := range found {
			dir := m[1]
			if dir == "untorn" {
				dir = "."
			}
			if tests[dir] == nil {
				tests[dir] = testsIn(t, dir)
			}
			if !slices.Contains(tests[dir], m[2]) {
				complaints = append(complaints, "no such test: "+m[0])
			}
		}
		for _, m := range mutants {
			if !slices.Contains(explore.Mutants(), m[1]) {
				complaints = append(complaints, "no such mutant: "+m[0])
			}
		}
	}
	return rows, complaints
}

// TestContractNamesTests: every row of docs/contract.md names tests that exist.
func TestContractNamesTests(t *testing.T) {
	b, err := os.ReadFile("docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, complaints := contractComplaints(t, string(b))
	for _, c := range complaints {
		t.Error(c)
	}
	if rows < 60 {
		t.Errorf("only %d rows were found", rows)
	}
	// And it would notice.
	_, complaints = contractComplaints(t, strings.Join([]string{
		"| call | assumed | holds | costs | shown by |", "|---|---|---|---|---|",
		"| a | b | c | d | `untorn.TestThatNobodyWrote` |", "| a | b | c | d | mutant `no-such-mutant` |",
		"| a | b | c | d | |", "| a | b | c | `untorn.TestTrace` |", "| a | b | c | d | `untorn.TestTrace`, `x` |",
	}, "\n"))
	if len(complaints) != 6 {
		t.Errorf("of a document with six faults it says %q", complaints)
	}
}

// TestFaultsNamesMutants: docs/faults.md has a row for every mutant, and for no other.
func TestFaultsNamesMutants(t *testing.T) {
	b, err := os.ReadFile("docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "\n| mutant |")
	table, _, _ = strings.Cut(table, "\n\n")
	if !ok {
		t.Fatal("there is no table of mutants")
	}
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(table, -1) {
		named = append(named, m[1])
		if !slices.Contains(explore.Mutants(), m[1]) {
			t.Errorf("docs/faults.md has a mutant %s, explore has not", m[1])
		}
	}
	for _, m := range explore.Mutants() {
		if !slices.Contains(named, m) {
			t.Errorf("docs/faults.md says nothing of the mutant %s", m)
		}
	}
}
