package main

import (
	"strings"
	"testing"

	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
)

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
