package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/untorn/untorn/bench"
)

func call0(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

// patient is call0 with more time where a busy machine acknowledged nothing in so short a while.
// Two runs may then differ in their duration, which compare refuses unless it is forced.
func patient(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	for _, d := range []string{"60ms", "500ms", "4s"} {
		code, out, err = call0(t, append(args[:len(args):len(args)], "-duration", d)...)
		if !strings.Contains(err, "no call was acknowledged") {
			break
		}
	}
	return code, out, err
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-no-such-flag"}, {"run", "-no-such-flag"}, {"wal", "-x"}, {"limit", "-x"}, {"compare", "-x"}, {"compare", "one"},
		{"nonsense"}, {"run", "more"}, {"run", "-mode", "x"}, {"run", "-mode", "none"}, {"run", "-page", "5000"},
		{"run", "-duration", "soon"}, {"run", "-backend", "x"}, {"wal", "-commit", "x"}, {"wal", "-sweep", "x=1"}, {"wal", "-sweep", "clients=1,1"}, {"wal", "-commit", "sync,sync"}, {"wal", "-rate", "5", "-overload", "5"}, {"wal", "-rate", "NaN"}, {"wal", "-overload", "NaN"}, {"run", "-rate", "NaN"},
		{"wal", "-sweep", "clients=1", "-hlog", "x"}, {"run", "-reads", "100"}, {"limit", "-depth", "-1"}, {"limit", "-depths", "0"}, {"limit", "-depths", "4,4"}, {"-size", "1XB"},
		{"run", "-overload", "120", "-rate", "5"}, {"run", "-sweep", "clients"}, {"run", "-sweep", "x=1"}, {"run", "-sweep", "clients=1", "-hlog", "x"},
		{"sweep"}, {"sweep", "-over", "clients"}, {"sweep", "-over", "clients", "-values", "1,1"}, {"sweep", "-over", "x", "-values", "1"},
		{"sweep", "-over", "clients", "-values", "1", "-mode", "none"}, {"sweep", "-over", "page", "-values", "5000"},
		{"sweep", "-over", "checkpoint", "-values", "16MiB"}, // MiB of MiB
		{"-clients", "0"}, {"run", "-duration", "0"}, {"run", "-size", "0"}, {"wal", "-record", "0"}, {"limit", "-batch", "0"},
		{"run", "-json", "-", "-gobench", "-"}, {"run", "-json", "x", "-html", "x"}, {"recovery", "-logs", "x"}, {"recovery", "-logs", "65GiB"},
		{"run", "-size", "9223372036854775807"}, {"limit", "-batch", "1125899906842624"},
	} {
		code, out, err := call0(t, args...)
		if code != exitUsage || out != "" || !strings.Contains(err, "usage: untornbench") || !strings.Contains(err, " [-") {
			t.Errorf("%v: status %d\n%s%s", args, code, out, err)
		}
	}
}

// TestHelpNamesEveryFlag keeps help and flags together.
func TestHelpNamesEveryFlag(t *testing.T) {
	helps := map[string]string{"run": helpRun, "sweep": helpSweep + helpRun, "wal": helpWAL, "limit": helpLimit, "compare": helpCompare, "recovery": helpRecovery, "": helpAll + helpRun}
	for name, help := range helps {
		args := []string{"-h"}
		if name != "" {
			args = []string{name, "-h"}
		}
		code, out, _ := call0(t, args...)
		if code != exitFine || !strings.Contains(out, "Examples") || !strings.Contains(out, "Exit status") {
			t.Errorf("%s -h: status %d", name, code)
		}
		for _, flag := range declared(t, name) {
			if !strings.Contains(help, "-"+flag+" ") && !strings.Contains(help, "-"+flag+"]") && !strings.Contains(help, "-"+flag+",") {
				t.Errorf("%s: flag -%s is not in the help", name, flag)
			}
		}
	}
}

// declared finds a subcommand's flags by the source: they are declared one a line.
func declared(t *testing.T, name string) []string {
	t.Helper()
	files := map[string][2]string{
		"run": {"cmd_run.go", "func runRun("}, "sweep": {"cmd_sweep.go", "func runSweep("}, "": {"cmd_run.go", "func (c *call) workload("},
		"wal": {"cmd_wal.go", "func runWAL("}, "limit": {"cmd_more.go", "func runLimit("}, "compare": {"cmd_more.go", "func runCompare("},
		"recovery": {"cmd_recovery.go", "func runRecovery("},
	}
	_, body, ok := strings.Cut(readSource(t, files[name][0]), files[name][1])
	if !ok {
		t.Fatalf("no %s", files[name][1])
	}
	body, _, _ = strings.Cut(body, "\n}\n")
	if name == "run" || name == "wal" { // they share these
		_, more, _ := strings.Cut(readSource(t, "cmd_run.go"), "func (c *call) histograms(")
		more, _, _ = strings.Cut(more, "\n}\n")
		body += more
	}
	var flags []string
	for line := range strings.Lines(body) {
		if _, rest, ok := strings.Cut(line, `c.fs.`); ok {
			if parts := strings.SplitN(rest, `"`, 3); len(parts) == 3 {
				flags = append(flags, parts[1])
			}
		}
	}
	if len(flags) == 0 {
		t.Fatalf("%s declares no flags", name)
	}
	return flags
}

func readSource(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestImpossible(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "below")
	for _, args := range [][]string{
		{"run", "-dir", below}, {"wal", "-dir", below}, {"limit", "-dir", below}, {"-dir", below},
		{"compare", file, file}, {"compare", below, below},
		{"run", "-json", below}, {"wal", "-html", below}, {"limit", "-gobench", below}, {"-html", below}, {"recovery", "-json", filepath.Dir(file)},
	} {
		if code, _, err := call0(t, args...); code != exitError || err == "" {
			t.Errorf("%v: status %d, %q", args, code, err)
		}
	}
}

func TestRunAndCompare(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	little := []string{"-size", "4MiB", "-warmup", "10ms", "-clients", "2", "-batch", "8", "-bound", "10ms", "-dir", file("work")}
	for _, name := range []string{"a.json", "b.json"} {
		args := append([]string{"run", "-repeat", "3", "-verify", "-json", file(name), "-html", file("r.html"), "-hgrm", file("l.hgrm"), "-hlog", file("l.hlog"), "-series", file("s.csv"), "-gobench", file("g.txt")}, little...)
		if code, out, err := patient(t, args...); code != exitFine || err != "" || !strings.Contains(out, "pages/s") {
			t.Fatalf("status %d\n%s%s", code, out, err)
		}
	}
	for _, name := range []string{"r.html", "l.hgrm", "l.hlog", "s.csv", "g.txt"} {
		if b, err := os.ReadFile(file(name)); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if _, err := os.Stat(file("work")); !os.IsNotExist(err) {
		t.Errorf("the directory that was made is still there: %v", err)
	}
	if code, out, err := call0(t, "compare", "-force", file("a.json"), file("b.json")); code != exitFine || !strings.Contains(out, "throughput") {
		t.Errorf("compare: status %d\n%s%s", code, out, err)
	}
	if code, out, err := call0(t, "compare", "-force", "-json", "-", file("a.json"), file("b.json")); code != exitFine || !strings.Contains(out, `"untorn.bench.compare/1"`) {
		t.Errorf("compare -json: status %d\n%s%s", code, out, err)
	}
	// JSON on standard output takes the table's place.
	code, out, _ := patient(t, append([]string{"run", "-mode", "none", "-unsafe", "-json", "-"}, little...)...)
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); code != exitFine || err != nil || doc["mode"] != "none" {
		t.Errorf("status %d, %v, %v", code, err, doc["mode"])
	}
	if err := os.WriteFile(file("none.json"), []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, err := call0(t, "compare", file("a.json"), file("none.json")); code != exitError || !strings.Contains(err, "mode: doublewrite against none") {
		t.Errorf("compare of two modes: status %d, %s", code, err)
	}
	if code, out, _ := call0(t, "compare", "-force", file("a.json"), file("none.json")); code != exitFine || !strings.Contains(out, "although they differ") {
		t.Errorf("forced: status %d\n%s", code, out)
	}
}

// full is standard output that nobody reads.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("nobody reads this") }

// TestResultsComeBeforeTheTable: whoever closes standard output loses the table and nothing else, and
// looking whether a file can be written leaves it as it was.
func TestResultsComeBeforeTheTable(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := call0(t, "run", "-mode", "x", "-json", file("old"), "-html", file("new")); code != exitUsage {
		t.Errorf("status %d", code)
	}
	if b, err := os.ReadFile(file("old")); string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(file("new")); !os.IsNotExist(err) {
		t.Errorf("a file that was only looked at is there: %v", err)
	}
	names := []string{"json", "html", "gobench", "hgrm", "hlog", "series"}
	for _, d := range []string{"60ms", "500ms", "4s"} { // as patient
		args := []string{"run", "-size", "4MiB", "-warmup", "0", "-clients", "2", "-batch", "8", "-bound", "0", "-dir", file("work"), "-duration", d}
		for _, n := range names {
			args = append(args, "-"+n, file(n))
		}
		var e strings.Builder
		if code := run(t.Context(), args, full{}, &e); code != exitError || !strings.Contains(e.String(), "nobody reads this") {
			t.Fatalf("status %d, %s", code, e.String())
		}
		if !strings.Contains(e.String(), "no call was acknowledged") {
			break
		}
	}
	for _, n := range names {
		if b, err := os.ReadFile(file(n)); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", n, len(b), err)
		}
	}
	var doc struct {
		Config struct {
			Warmup int64 `json:"warmup_ns"`
			Bound  int64 `json:"bound_ns"`
		} `json:"config"`
		Bound float64 `json:"bound_pages_per_second"`
	}
	if b, _ := os.ReadFile(file("json")); json.Unmarshal(b, &doc) != nil || doc.Config.Warmup != 0 || doc.Config.Bound >= 0 || doc.Bound != 0 {
		t.Errorf("neither warm-up nor bound: %+v", doc)
	}
	// One result takes the table's place.
	code, out, err := patient(t, "wal", "-clients", "2", "-warmup", "0", "-bound", "0", "-dir", file("work"), "-html", "-")
	if code != exitFine || !strings.HasPrefix(out, "<!DOCTYPE") || !strings.HasSuffix(out, "</html>\n") {
		t.Errorf("status %d, %.80q, %s", code, out, err)
	}
}

// TestComparisonWithALog: the baselines have none, and the log alone is measured where it will lie.
func TestComparisonWithALog(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, e strings.Builder
	c := &call{fs: flag.NewFlagSet("", flag.ContinueOnError), stdout: &out, stderr: &e, args: []string{
		"-size", "4MiB", "-duration", "1s", "-warmup", "0", "-repeat", "1", "-clients", "2", "-batch", "8", "-bound", "0", "-html", "",
		"-dir", filepath.Join(dir, "data"), "-log", "100", "-wal-dir", filepath.Join(dir, "log"), "-json", filepath.Join(dir, "a.json"),
	}}
	c.watch = func(what string, _ float64) {
		if what != "log, 1 of 1" {
			return
		}
		if there, _ := filepath.Glob(filepath.Join(dir, "log", "untornbench-scratch-*", "bare")); len(there) != 1 {
			t.Errorf("the log is not measured in -wal-dir: %v", there)
		}
		cancel()
	}
	if err := runModes(ctx, c); err != nil && !errors.Is(err, bench.ErrNothing) {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "a.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"mode": "naive"`) || !strings.Contains(out.String(), "INTERRUPTED") {
		t.Errorf("%s", out.String())
	}
}

func TestSweepAndLogReports(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	little := []string{"-size", "4MiB", "-warmup", "10ms", "-batch", "8", "-bound", "10ms", "-repeat", "1", "-dir", file("work")}
	args := append([]string{"sweep", "-over", "clients", "-values", "1,2", "-mode", "doublewrite,detect", "-json", file("a.json"), "-html", file("a.html"), "-gobench", file("a.txt")}, little...)
	if code, out, err := patient(t, args...); code != exitFine || !strings.Contains(out, "detect") || !strings.Contains(out, "What it means") {
		t.Fatalf("status %d\n%s%s", code, out, err)
	}
	if code, out, err := patient(t, append([]string{"run", "-sweep", "clients=1,2", "-json", file("b.json")}, little...)...); code != exitFine {
		t.Fatalf("run -sweep: status %d\n%s%s", code, out, err)
	}
	if code, out, err := call0(t, "compare", "-force", file("a.json"), file("b.json")); code != exitFine || !strings.Contains(out, "clients=2: throughput") {
		t.Errorf("compare: status %d\n%s%s", code, out, err)
	}
	if code, out, err := patient(t, "wal", "-clients", "2", "-warmup", "10ms", "-dir", file("work"),
		"-html", file("w.html"), "-hgrm", file("w.hgrm"), "-hlog", file("w.hlog"), "-series", file("w.csv"), "-gobench", file("w.txt")); code != exitFine {
		t.Errorf("wal: status %d\n%s%s", code, out, err)
	}
	if code, out, err := patient(t, "wal", "-sweep", "clients=1,2", "-commit", "sync,async", "-warmup", "10ms", "-bound", "10ms", "-dir", file("work"), "-verify",
		"-json", file("v.json"), "-html", file("v.html"), "-gobench", file("v.txt")); code != exitFine || !strings.Contains(out, "What it means") {
		t.Errorf("wal -sweep: status %d\n%s%s", code, out, err)
	}
	if code, out, err := call0(t, "compare", file("v.json"), file("v.json")); code != exitFine || !strings.Contains(out, "async, clients=2: throughput") {
		t.Errorf("compare: status %d\n%s%s", code, out, err)
	}
	for _, name := range []string{"v.html", "v.txt", "a.html", "a.txt", "w.html", "w.hgrm", "w.hlog", "w.csv", "w.txt"} {
		if b, err := os.ReadFile(file(name)); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
