package torture

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/untorn/untorn"
)

func TestPageContents(t *testing.T) {
	const size = 4096
	page := func(seed uint64, tag uint32, no uint64, v version) []byte {
		b := make([]byte, size)
		putPage(b, seed, tag, no, v)
		return b
	}
	v := makeVersion(3, 9)
	good := page(1, 2, 5, v)
	if got, err := readPage(good, 1, 2, 5); err != nil || got != v {
		t.Errorf("read back as %s, %v", got, err)
	}
	if got, err := readPage(make([]byte, size), 1, 2, 5); err != nil || got != 0 {
		t.Errorf("an empty page reads as %s, %v", got, err)
	}
	for name, b := range map[string][]byte{
		"another page":   page(1, 2, 6, v),
		"another file":   page(1, 3, 5, v),
		"another seed":   page(2, 2, 5, v),
		"half empty":     append(make([]byte, size/2), good[size/2:]...),
		"half and empty": append(bytes.Clone(good[:size/2]), make([]byte, size/2)...),
		"two versions":   append(bytes.Clone(good[:size/2]), page(1, 2, 5, v+1)[size/2:]...),
	} {
		if got, err := readPage(b, 1, 2, 5); err == nil {
			t.Errorf("%s: taken for version %s", name, got)
		}
	}
	for i := untorn.PageHeader; i < size; i++ { // every byte counts
		good[i] ^= 1
		if _, err := readPage(good, 1, 2, 5); err == nil {
			t.Fatalf("byte %d does not matter", i)
		}
		good[i] ^= 1
	}
}

func TestDescribe(t *testing.T) {
	b := make([]byte, 4096)
	putPage(b, 1, 0, 7, 8)
	c := make([]byte, 4096)
	putPage(c, 1, 0, 7, 9)
	copy(b[2048:], c[2048:3072])
	copy(b[3072:], "odd")
	got := describe(b, 1, 0, 7, []version{8, 9})
	want := "sectors 0-3: version 0.8, sectors 4-5: version 0.9, sectors 6-6: unknown bytes, sectors 7-7: version 0.8"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRecordContents(t *testing.T) {
	r := record{seq: 77, round: 3, at: 1, of: 4, size: 333}
	b := putRecord(nil, 5, r)
	if got, err := readRecord(b, 5); err != nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := readRecord(b[:300], 5); err == nil {
		t.Error("a short record passes")
	}
	for i := range b {
		b[i] ^= 0x10
		if _, err := readRecord(b, 5); err == nil {
			t.Fatalf("byte %d does not matter", i)
		}
		b[i] ^= 0x10
	}
}

func TestEvents(t *testing.T) {
	var b bytes.Buffer
	p := &pipe{w: &b}
	var want []event
	for i := range 300 {
		want = append(want, event{kind: evPage, level: 1, tag: uint32(i), page: 1 << 40, version: 7, a: 1 << 50, b: 9})
	}
	want = append(want, event{kind: evWrong, text: strings.Repeat("long ", 2000)})
	p.emit(want...)
	var got []event
	if err := readEvents(&b, func(e event) { got = append(got, e) }); err != nil {
		t.Fatal(err)
	}
	last := len(want) - 1
	want[last].text = want[last].text[:atomicWrite-eventBytes]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d events came back, %d were sent", len(got), len(want))
	}
}

func TestNames(t *testing.T) {
	for _, tag := range []uint32{mainTag, 1, 259} {
		for _, moved := range []bool{false, tag != mainTag} {
			got, m, ok := parseName(fileName(tag, moved))
			if got != tag || m != moved || !ok {
				t.Errorf("%s is read as %d, %v, %v", fileName(tag, moved), got, m, ok)
			}
		}
	}
	for _, name := range []string{"", "mine", "side-", "side-1x", "moved-x", "side-01"} {
		if _, _, ok := parseName(name); ok {
			t.Errorf("%q passes for a file of ours", name)
		}
	}
}
