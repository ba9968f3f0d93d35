package hwprobe

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestBadCaptures(t *testing.T) {
	const ok = `"schema":"untorn.hwprobe.capture/1"`
	for name, doc := range map[string]string{
		"empty":            ``,
		"cut short":        `{"schema": 1, "nonsense": [`,
		"other schema":     `{"schema":"untorn.hwprobe.capture/99"}`,
		"no schema":        `{"path":"/x"}`,
		"a list":           `[]`,
		"trailing bytes":   `{` + ok + `} {}`,
		"no captures":      `{"schema":"untorn.hwprobe.captures/1","captures":[]}`,
		"nested schema":    `{"schema":"untorn.hwprobe.captures/1","captures":[{}]}`,
		"null inside":      `{"schema":"untorn.hwprobe.captures/1","captures":[null]}`,
		"negative number":  `{` + ok + `,"file":{"unit_max":-1}}`,
		"number too large": `{` + ok + `,"file":{"unit_max":99999999999999999999}}`,
		"fraction":         `{` + ok + `,"file":{"unit_max":1.5}}`,
		"text for number":  `{` + ok + `,"file":{"unit_max":"16384"}}`,
		"value and reason": `{` + ok + `,"file":{"unit_max":{"value":16384,"missing":"EACCES"}}}`,
		"same name twice":  `{` + ok + `,"devices":[{"name":"a"},{"name":"a"}]}`,
		"no name":          `{` + ok + `,"devices":[{"kind":"nvme"}]}`,
		"too many devices": `{` + ok + `,"devices":[` + strings.Repeat(`{"name":"a"},`,
			maxDevices) + `{"name":"b"}]}`,
		"too many links": `{` + ok + `,"devices":[{"name":"a","on":[` + strings.Repeat(`"a",`,
			maxEdges) + `"a"]}]}`,
		"deep nesting": strings.Repeat(`[`, 100000),
	} {
		if _, err := ReadCaptures(strings.NewReader(doc)); err == nil {
			t.Errorf("%s: taken for a capture", name)
		}
	}
	big := bytes.Repeat([]byte(" "), maxCaptureBytes+1)
	if _, err := ReadCaptures(bytes.NewReader(big)); err == nil {
		t.Error("a capture of any size is read")
	}
}

func TestFactForms(t *testing.T) {
	for doc, want := range map[string]Fact[uint64]{
		`7`:                              Known(uint64(7), ""),
		`{"value":7,"from":"sysfs"}`:     Known(uint64(7), "sysfs"),
		`{"missing":"EACCES"}`:           Missing[uint64]("EACCES", ""),
		`{"missing":"a","from":"sysfs"}`: Missing[uint64]("a", "sysfs"),
		`null`:                           {},
		`{}`:                             {},
	} {
		var f Fact[uint64]
		if err := json.Unmarshal([]byte(doc), &f); err != nil || f != want {
			t.Errorf("%s: %+v, %v", doc, f, err)
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var again Fact[uint64]
		if err := json.Unmarshal(b, &again); err != nil || again != want {
			t.Errorf("%s becomes %s", doc, b)
		}
	}
	var unread Fact[bool]
	if unread.Or(true) != true || unread.Why() != "not recorded" {
		t.Error("a datum nobody recorded is not told apart")
	}
	open := &fs.PathError{Op: "open", Path: "/x", Err: errors.New("EACCES")}
	if got := reason(open); got != "EACCES" {
		t.Errorf("reason %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	a, b, unknown := load(t, "vector-a"), load(t, "vector-ext4-virtio"), load(t, "vector-qemu")
	for _, x := range []struct {
		name  string
		rs    []*Report
		pages []int
		want  int
	}{
		{"all relaxed", []*Report{a}, []int{4096, 16384}, ExitRelaxed},
		{"one page required", []*Report{a}, []int{16384, 32768}, ExitRequired},
		{"one path required", []*Report{a, b}, []int{16384}, ExitRequired},
		{"one unknown", []*Report{a, unknown}, []int{16384}, ExitUnknown},
		{"unknown outweighs required", []*Report{unknown, b}, []int{16384}, ExitUnknown},
		{"a failed path outweighs all", []*Report{a, Failed("/x", fs.ErrNotExist)}, []int{16384}, ExitUnknown},
		{"nothing asked", nil, []int{16384}, ExitUnknown},
		{"no page asked", []*Report{a}, nil, ExitUnknown},
	} {
		if got := Evaluate(x.rs, x.pages, Policy{}).Exit; got != x.want {
			t.Errorf("%s: exit %d, want %d", x.name, got, x.want)
		}
	}
}

func TestRenderIsPrintable(t *testing.T) {
	r := load(t, "vector-a")
	r.Path, r.Note = "/srv/\x1b[2Jevil\nname", "bell \a"
	r.Devices[1].NVMe.Ctrl.Model = Known("model\x1b]0;title\a", "")
	doc := Evaluate([]*Report{r}, DefaultPages(), Policy{})
	var b bytes.Buffer
	if err := doc.Results[0].Render(&b, true); err != nil {
		t.Fatal(err)
	}
	if err := doc.RenderFleet(&b); err != nil {
		t.Fatal(err)
	}
	control := func(c rune) bool { return c < ' ' && c != '\n' || c == 0x7f }
	if i := strings.IndexFunc(b.String(), control); i >= 0 {
		t.Errorf("control character %#x reaches the terminal", b.String()[i])
	}
}

func TestWriteCache(t *testing.T) {
	for _, x := range []struct{ file, want string }{
		{"vector-a", FlushesSent},
		{"drive-micron-9200", FlushesNeedless},
		{"drive-solidigm-sbfpf2bu153t", FlushesNeedless}, // VWC 0x6: bit 0 is clear
		{"drive-dera-p44", FlushesNeedless},              // VWC 0x4
		{"write-through-hole", FlushesOff},
		{"ext4-barrier0", FlushesOff},
		{"vector-ext4-virtio", FlushesSent},
		{"no-sysfs", FlushesUnknown},
		{"cycle", FlushesUnknown},
		{"failed", FlushesUnknown},
	} {
		if got := load(t, x.file).WriteCache(); got.State != x.want || got.Summary == "" {
			t.Errorf("%s: %s (%s), want %s", x.file, got.State, got.Summary, x.want)
		}
	}
	// A flush is dropped at the first "write through" on the way down, whoever set it.
	r := load(t, "lvm-linear")
	r.Devices[0].Queue.WriteCache = Known("write through", "")
	if wc := r.WriteCache(); !wc.Off() || !strings.Contains(wc.Summary, "dm-0") {
		t.Errorf("write through above a volatile cache: %s", wc.Summary)
	}
}

func TestWriters(t *testing.T) {
	w := load(t, "ebs-ext4-bigalloc").Decide(16384, Policy{}).Writers
	if w[1].Answer != Unknown || !strings.Contains(w[1].Promise, "Amazon") {
		t.Errorf("InnoDB on EBS: %+v", w[1])
	}
	w = load(t, "ebs-ext4-bigalloc").Decide(32768, Policy{}).Writers
	if strings.Contains(w[1].Promise, "Amazon") {
		t.Errorf("beyond what Amazon promises: %+v", w[1])
	}
	w = load(t, "fs-zfs").Decide(16384, Policy{}).Writers
	if w[2].Answer != Unknown || !strings.Contains(w[2].Promise, "record size") {
		t.Errorf("PostgreSQL on ZFS: %+v", w[2])
	}
	w = load(t, "vector-a").Decide(16384, Policy{}).Writers
	if w[0].Answer != Relaxed || w[1].Answer != Required || w[2].Answer != Required {
		t.Errorf("on vector A: %+v", w)
	}
}

func TestNextSteps(t *testing.T) {
	for _, x := range []struct {
		file string
		page int
		want string
	}{
		{"vector-a-ext4-4k", 16384, "mkfs.ext4 -O bigalloc -C 16384"},
		{"partition-63", 16384, "align the partition to 16 KiB"},
		{"old-kernel", 16384, "kernel 6.11 or newer"},
		{"vector-a-eacces", 16384, "run as root or in group disk"},
		{"ext4-barrier0", 16384, "mount with barriers"},
		{"write-through-hole", 16384, "write back"},
		{"drive-kioxia-800gb-linux-7.0", 16384, "Linux 7.0 and newer ignore it"},
	} {
		next := strings.Join(load(t, x.file).Decide(x.page, Policy{}).Next, "; ")
		if !strings.Contains(next, x.want) {
			t.Errorf("%s: %q lacks %q", x.file, next, x.want)
		}
	}
}
