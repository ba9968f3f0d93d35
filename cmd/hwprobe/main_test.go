package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/untorn/untorn/hwprobe"
)

const captures = "../../hwprobe/testdata/captures/"

func hw(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodes(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"schema": 1, "nonsense": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args string
		want int
	}{
		{"-h", 0},
		{"--help", 0},
		{"-no-such-flag", 2},
		{"", 2},
		{"-page 0 /tmp", 2},
		{"-page 16384,oops /tmp", 2},
		{"-page -4096 /tmp", 2},
		{"-page 4096000000000000 /tmp", 2},
		{"-json - -capture - /tmp", 2},
		{"-live -from " + broken, 2},
		{"-all -from " + broken, 2},
		{"-from " + broken, 3},
		{"-from /no/such/capture", 3},
		{"/no/such/path", 3},
		{"-page 16384 -from " + captures + "vector-a.json", 0},
		{"-page 4KiB,16KiB -from " + captures + "vector-a.json", 0},
		{"-from " + captures + "vector-a.json", 1}, // the default list holds 32 and 64 KiB
		{"-from " + captures + "vector-a.json -page 16k", 0},
		{"-page 16384 -from " + captures + "vector-a.json " + captures + "vector-b.json", 0},
		{"-page 16384 -from " + captures + "vector-a.json " + captures + "vector-ebs.json", 1},
		{"-page 16384 -from " + captures + "vector-qemu.json " + captures + "vector-ebs.json", 3},
		{"-page 16384 -from " + captures + "drive-kioxia-800gb.json", 3},
		{"-trust-awupf -page 16384 -from " + captures + "drive-kioxia-800gb.json", 0},
		{"-hardware-only -page 131072 -from " + captures + "xfs-on-64k.json", 1},
		{"-page 16384 -json /no/such/dir/x -from " + captures + "vector-a.json", 3},
	} {
		code, out, errs := hw("", strings.Fields(x.args)...)
		if code != x.want {
			t.Errorf("hwprobe %s: exit %d, want %d\n%s", x.args, code, x.want, errs)
		}
		switch {
		case code == 2 && !strings.Contains(errs, "usage:"):
			t.Errorf("hwprobe %s: no usage", x.args)
		case code < 2 && out == "":
			t.Errorf("hwprobe %s: no output", x.args)
		case code == 3 && out == "" && errs == "":
			t.Errorf("hwprobe %s: no message", x.args)
		}
	}
}

// TestCaptureAnswersAlike: a capture gives the status the probe gave, missing paths included.
func TestCaptureAnswersAlike(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "cap.json")
	for _, paths := range [][]string{{dir}, {dir, "/dev/null"}, {dir, filepath.Join(dir, "missing")}} {
		here, _, errs := hw("", append([]string{"-page", "16384", "-capture", file}, paths...)...)
		there, _, _ := hw("", "-page", "16384", "-from", file)
		if here != there {
			t.Errorf("%v: exit %d here, %d from its own capture\n%s", paths, here, there, errs)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if piped, _, _ := hw(string(b), "-page", "16384", "-from", "-"); piped != here {
			t.Errorf("%v: exit %d from standard input", paths, piped)
		}
	}
}

func TestJSON(t *testing.T) {
	code, out, _ := hw("", "-page", "16384", "-json", "-", "-from", captures+"vector-b.json")
	var doc struct {
		Schema  string
		Exit    int
		Results []struct {
			Verdicts []hwprobe.Verdict
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != hwprobe.SchemaDocument || doc.Exit != code || len(doc.Results) != 1 ||
		doc.Results[0].Verdicts[0].Answer != hwprobe.Relaxed {
		t.Errorf("exit %d, document %+v", code, doc)
	}
}

func TestFleetTable(t *testing.T) {
	_, out, _ := hw("", "-page", "16384", "-from", captures+"vector-a.json",
		captures+"vector-ebs.json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "vector-a.json") ||
		!strings.Contains(lines[2], "required (3)") {
		t.Errorf("fleet table:\n%s", out)
	}
}

// TestHelpNamesEveryFlag keeps the help complete.
func TestHelpNamesEveryFlag(t *testing.T) {
	for _, f := range []string{"-page", "-live", "-all", "-v", "-json", "-capture", "-from",
		"-serials",
		"-no-probe-file", "-hardware-only", "-trust-awupf", "-trust-emulated", "Exit status",
		"Examples"} {
		if !strings.Contains(help, f) {
			t.Errorf("help does not explain %s", f)
		}
	}
}
