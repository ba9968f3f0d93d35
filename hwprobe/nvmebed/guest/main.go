//go:build linux

// Command guest is process 1 of the NVMe test bed's virtual machine: it sets up file systems and
// stacks on the emulated drives, compares what hwprobe reads and decides with what it must, tries
// RWF_ATOMIC writes, and powers off. Its last line is "nvmebed: PASS" or "nvmebed: FAIL n".
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
	"github.com/untorn/untorn/vm/inside"
)

// bed is one run: it counts what falls short and goes on, so that one boot shows everything.
type bed struct {
	failed int
	nodes  map[string]string // serial -> device node
	dmN    uint32
	reload func() error // gives the device-mapper device just built a table without atomic writes
	mdN    uint32
}

func main() {
	b := &bed{nodes: map[string]string{}}
	b.run()
	if b.failed == 0 {
		fmt.Println("nvmebed: PASS")
	} else {
		fmt.Printf("nvmebed: FAIL %d\n", b.failed)
	}
	inside.PowerOff()
}

func (b *bed) fail(format string, a ...any) {
	b.failed++
	fmt.Printf("  falls short: "+format+"\n", a...)
}

func (b *bed) run() {
	if err := inside.Boot(spec.Parameters); err != nil {
		b.fail("boot: %v", err)
		return
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Printf("guest kernel %s", kernel)
	b.findDrives()
	fmt.Println("\nIdentify, byte for byte")
	for _, d := range spec.Drives() {
		b.identify(d)
	}
	fmt.Println("\nhwprobe")
	var rows []string
	for _, t := range spec.Targets() {
		if row := b.target(t); row != "" {
			rows = append(rows, row)
		}
	}
	fmt.Printf("\nRWF_ATOMIC writes (o = whole, I = EINVAL, N = EOPNOTSUPP)\n%-12s %s\n",
		"", strings.Join(spec.Columns, "  "))
	for _, r := range rows {
		fmt.Println(r)
	}
}

// findDrives maps serial numbers to nodes: nvme names are not stable between boots.
func (b *bed) findDrives() {
	dirs, _ := filepath.Glob("/sys/class/block/nvme*n*")
	for _, dir := range dirs {
		serial, err := os.ReadFile(dir + "/device/serial")
		if err != nil || strings.Contains(filepath.Base(dir), "p") {
			continue
		}
		b.nodes[strings.TrimSpace(string(serial))] = "/dev/" + filepath.Base(dir)
	}
	if f, err := inside.OpenSoon("/dev/sda"); err == nil {
		f.Close()
		b.nodes["SCSI"] = "/dev/sda"
	}
	for _, d := range spec.Drives() {
		if b.nodes[d.Serial] == "" {
			b.fail("drive %s is not there", d.Serial)
		}
	}
}

// target probes one thing and returns its row of the errno table.
func (b *bed) target(t spec.Target) string {
	path, undo, err := b.place(t)
	if err != nil {
		b.fail("%s: %v", t.Name, err)
		return ""
	}
	defer undo()
	opts := hwprobe.Options{Live: strings.HasSuffix(t.Name, "/")}
	for _, w := range t.Wants {
		opts.LivePages = append(opts.LivePages, w.Page)
	}
	r, err := hwprobe.Probe(context.Background(), path, opts)
	if err != nil {
		b.fail("%s: %v", t.Name, err)
		return ""
	}
	lo, hi := r.File.UnitMin.Or(0), r.File.UnitMax.Or(0)
	fmt.Printf("%-12s statx %d to %d, opt %s\n", t.Name, lo, hi, r.File.UnitMaxOpt)
	if t.UnitMax > 0 && (lo != t.UnitMin || hi != t.UnitMax) {
		b.fail("%s: want %d to %d", t.Name, t.UnitMin, t.UnitMax)
	}
	for _, w := range t.Wants {
		b.verdict(t, r, w.Page, hwprobe.Policy{}, w.Strict)
		b.verdict(t, r, w.Page, hwprobe.Policy{TrustEmulated: true, TrustAWUPF: true}, w.Test)
	}
	defer b.engine(t, path) // last: it may shrink the limit
	if t.Errnos == "" {
		return ""
	}
	got, err := errnos(path, strings.HasSuffix(t.Name, "/"))
	if err != nil {
		b.fail("%s: %v", t.Name, err)
		return ""
	}
	if got != t.Errnos {
		b.fail("%s: writes gave %s, want %s", t.Name, got, t.Errnos)
	}
	row := fmt.Sprintf("%-12s", t.Name)
	for i, c := range got {
		row += fmt.Sprintf(" %-*c ", len(spec.Columns[i]), c)
	}
	return row
}

// verdict compares answer and rule; "*" is any rule.
func (b *bed) verdict(t spec.Target, r *hwprobe.Report, page int, pol hwprobe.Policy, want string) {
	v := r.Decide(page, pol)
	answer, rule, _ := strings.Cut(want, " ")
	how := "strict"
	if pol.TrustEmulated {
		how = "numbers alone"
	}
	fmt.Printf("    %6d %-13s  %s, rule %s: %s\n", page, how, v.Answer, v.Rule, v.Reason)
	if string(v.Answer) != answer || rule != "*" && v.Rule != rule {
		b.fail("%s at %d (%s): want %s", t.Name, page, how, want)
		for _, row := range v.Rules {
			fmt.Printf("      %s %s %s\n", row.Rule, row.Outcome, row.Detail)
		}
	}
}
