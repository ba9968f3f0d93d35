package certify

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func fact(where string, layer int, what, value string) Fact {
	return Fact{Where: where, Layer: layer, What: what, Value: value}
}

var atCertification = []Fact{
	fact("host", 0, "kernel", "6.18.44-cloud"),
	fact("host", 0, "machine", "m1"),
	fact("host", 0, "engine revision", "r1"),
	fact("host", 0, "processors", "2"),
	fact("dir", 0, "file system", "xfs"),
	fact("dir", 0, "mount options that matter", "rw"),
	fact("dir", 0, "flushes", "sent"),
	fact("dir", 0, "atomic write unit, most", "65536"),
	fact("dir", 0, "atomic writes of 16384 bytes", "relaxed hardware"),
	fact("dir", 0, "stack", "partition > nvme"),
	fact("dir", 1, "device name", "nvme0n1p1"),
	fact("dir", 2, "firmware", "1.0"),
	fact("dir", 2, "identity", "aaaa"),
	fact("dir", 2, "kernel's write cache setting", "write back"),
	{Where: "dir", Layer: 2, What: "NAWUPF", Missing: "permission denied"},
}

// TestCompare: each change has the severity an operator can act on.
func TestCompare(t *testing.T) {
	set := func(where string, layer int, what, value string) func([]Fact) []Fact {
		return func(fs []Fact) []Fact {
			for i := range fs {
				if fs[i].key() == (Fact{Where: where, Layer: layer, What: what}) {
					fs[i].Value, fs[i].Missing = value, ""
					return fs
				}
			}
			return append(fs, fact(where, layer, what, value))
		}
	}
	unread := func(what string) func([]Fact) []Fact {
		return func(fs []Fact) []Fact {
			for i := range fs {
				if fs[i].What == what {
					fs[i].Value, fs[i].Missing = "", "permission denied"
				}
			}
			return fs
		}
	}
	for _, c := range []struct {
		name   string
		mode   string
		change func([]Fact) []Fact
		worst  Severity
		n      int
	}{
		{"nothing", "doublewrite", func(fs []Fact) []Fact { return fs }, "", 0},
		{"kernel series", "doublewrite", set("host", 0, "kernel", "7.0.1"), Void, 1},
		{"kernel minor, written without a dot", "doublewrite", set("host", 0, "kernel", "6.19-rc1"), Void, 1},
		{"kernel build", "doublewrite", set("host", 0, "kernel", "6.18.45-cloud"), Look, 1},
		{"another machine", "doublewrite", set("host", 0, "machine", "m2"), Void, 1},
		{"engine", "doublewrite", set("host", 0, "engine revision", "r2"), Look, 1},
		{"processors", "doublewrite", set("host", 0, "processors", "4"), Note, 1},
		{"mount option", "doublewrite", set("dir", 0, "mount options that matter", "nobarrier,rw"), Void, 1},
		{"flushes", "doublewrite", set("dir", 0, "flushes", "off"), Void, 1},
		{"device renamed", "doublewrite", set("dir", 1, "device name", "nvme1n1p1"), Note, 1},
		{"firmware", "doublewrite", set("dir", 2, "firmware", "1.1"), Void, 1},
		{"drive swapped", "doublewrite", set("dir", 2, "identity", "bbbb"), Void, 1},
		{"write cache", "doublewrite", set("dir", 2, "kernel's write cache setting", "write through"), Void, 1},
		{"atomic limit, with a second copy", "doublewrite", set("dir", 0, "atomic write unit, most", "4096"), Look, 1},
		{"atomic limit, without", "atomic", set("dir", 0, "atomic write unit, most", "4096"), Void, 1},
		{"atomic limit, perhaps without", "auto", set("dir", 0, "atomic write unit, most", "4096"), Void, 1},
		{"verdict", "atomic", set("dir", 0, "atomic writes of 16384 bytes", "unknown"), Void, 1},
		{"verdict, with a second copy", "doublewrite", set("dir", 0, "atomic writes of 16384 bytes", "unknown"), Note, 1},
		{"firmware unread", "doublewrite", unread("firmware"), Unread, 1},
		{"device name unread", "doublewrite", unread("device name"), Note, 1},
		{"read for the first time", "atomic", set("dir", 2, "NAWUPF", "31"), Note, 1},
		{"still unread", "atomic", unread("NAWUPF"), "", 0},
		{"new layer: its facts are not told one by one", "doublewrite", func(fs []Fact) []Fact {
			fs = set("dir", 0, "stack", "dm > partition > nvme")(fs)
			return append(set("dir", 1, "device name", "dm-0")(fs), fact("dir", 3, "firmware", "1.0"))
		}, Void, 1},
		{"gone", "doublewrite", func(fs []Fact) []Fact {
			return slices.DeleteFunc(fs, func(f Fact) bool { return f.What == "firmware" })
		}, Unread, 1},
		{"new", "doublewrite", set("dir", 2, "zoned", "host-managed"), Note, 1},
	} {
		p := &Profile{Facts: atCertification, Config: Config{Mode: untornMode(c.mode)}}
		got := Compare(p, c.change(slices.Clone(atCertification)))
		if len(got) != c.n || Worst(got) != c.worst {
			t.Errorf("%s: %v, want %d and the worst %q", c.name, got, c.n, c.worst)
		}
		for _, x := range got {
			if x.Severity != Note && x.Why == "" || !strings.Contains(x.String(), x.What) {
				t.Errorf("%s: %q says nothing", c.name, x)
			}
		}
	}
}

// TestWeights: every fact that is gathered has a weight, or is named here as one that has none.
func TestWeights(t *testing.T) {
	none := []string{"processors", "device name", "other mount options", "backend's reason", "kernel"}
	named := map[string]bool{}
	re := regexp.MustCompile(`(?:put\(|of\(\w+, |What: |\{)"([^"%]+)"`)
	for _, file := range []string{"facts.go", "host.go", "host_unix.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllStringSubmatch(string(b), -1) {
			if m[1] != "barrier" { // the first mount option
				named[m[1]] = true
			}
		}
	}
	for n := range named {
		if _, ok := weights[n]; !ok && !slices.Contains(none, n) {
			t.Errorf("fact %q has no weight", n)
		}
	}
	for n, w := range weights {
		if !named[n] {
			t.Errorf("nobody gathers %q", n)
		}
		if w.why == "" || ranks[w.severity] == 0 && w.severity != Void {
			t.Errorf("weight of %q: %+v", n, w)
		}
	}
	if len(named) < 40 {
		t.Errorf("only %d facts found in the source", len(named))
	}
}
