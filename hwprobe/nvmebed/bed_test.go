package main

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
)

func TestMBR(t *testing.T) {
	b := mbr([]uint32{63, 2048}, 131072)
	for i, want := range [][2]uint32{{63, 1985}, {2048, 129024}} {
		e := b[446+16*i:]
		start, n := binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		if start != want[0] || n != want[1] || e[4] != 0x83 {
			t.Errorf("partition %d: %d sectors at %d, type %#x", i+1, n, start, e[4])
		}
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		t.Error("no signature")
	}
}

func TestCpio(t *testing.T) {
	var c cpio
	c.file("init", 0o755, []byte("hello"))
	c.node("dev/console", 5, 1)
	b := string(c.finish())
	if len(b)%4 != 0 || strings.Count(b, "070701") != 3 || !strings.HasSuffix(strings.TrimRight(b,
		"\x00"), "TRAILER!!!") {
		t.Errorf("archive of %d bytes: %q", len(b), b)
	}
	if !strings.HasPrefix(b[14:], "000081ed") { // a regular file, 0755
		t.Errorf("mode is %q", b[14:22])
	}
}

// TestSpec keeps the lists in step with each other.
func TestSpec(t *testing.T) {
	serials := map[string]bool{"SCSI": true}
	for _, d := range spec.Drives() {
		if serials[d.Serial] || len(d.Serial) > 20 {
			t.Errorf("serial %q", d.Serial)
		}
		serials[d.Serial] = true
	}
	for _, x := range spec.Targets() {
		serial := strings.TrimRight(x.Name, "/:0123456789")
		if x.Build == "" && !serials[serial] && !serials[strings.TrimSuffix(x.Name, "/")] {
			t.Errorf("target %s is on no drive", x.Name)
		}
		if x.Errnos != "" && len(x.Errnos) != len(spec.Columns) {
			t.Errorf("target %s: %d letters for %d columns", x.Name, len(x.Errnos), len(spec.Columns))
		}
		if len(x.Wants) == 0 {
			t.Errorf("target %s: nothing is expected of it", x.Name)
		}
	}
}

// TestShow: the verdict is the last line about the bed, and complaints are counted: a guest that is
// stopped by the clock passes for slow only without any.
func TestShow(t *testing.T) {
	said := show(strings.NewReader("boot\r\n  falls short: XFS: no\r\nx nvmebed: FAIL 1\r\n\r\n[ 1.0] reboot\r\n"))
	if said.verdict != "nvmebed: FAIL 1" || said.complaints != 1 || said.at.IsZero() {
		t.Errorf("%+v", said)
	}
	if said := show(strings.NewReader("boot\n")); said.verdict != "" || said.complaints != 0 {
		t.Errorf("%+v", said)
	}
}
