package vm

import (
	"encoding/binary"
	"strings"
	"testing"
)

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

func TestMBR(t *testing.T) {
	b := MBR([]uint32{63, 2048}, 131072)
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
