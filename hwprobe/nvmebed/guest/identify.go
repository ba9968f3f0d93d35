//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/untorn/untorn/hwprobe"
	"github.com/untorn/untorn/hwprobe/nvmebed/spec"
)

// field is one expected value at an offset of the specification.
type field struct {
	name string
	off  int
	want int
}

// identify compares the raw pages with what the drive was started with, and the decoded fields
// with the raw pages: neither by way of the package's own offsets.
func (b *bed) identify(d spec.Drive) {
	r, err := hwprobe.Probe(context.Background(), b.nodes[d.Serial], hwprobe.Options{Serials: true})
	if err != nil {
		b.fail("%s: %v", d.Serial, err)
		return
	}
	n := leaf(r)
	if n == nil || n.Ctrl.Raw == nil || n.NS.Raw == nil {
		b.fail("%s: Identify was not read: %+v", d.Serial, r.Devices)
		return
	}
	c, ns := n.Ctrl.Raw, n.NS.Raw
	for _, s := range []struct {
		name     string
		off, len int
		want     string
	}{{"serial", 4, 20, d.Serial}, {"model", 24, 40, spec.Model()}, {"firmware", 64, 8,
		spec.Firmware()}} {
		if got := string(c[s.off : s.off+s.len]); got != fmt.Sprintf("%-*s", s.len, s.want) {
			b.fail("%s: %s is %q", d.Serial, s.name, got)
		}
	}
	b.fields(d, c, []field{{"AWUN", 526, d.AWUN}, {"AWUPF", 528, d.AWUPF}})
	b.fields(d, ns, []field{{"NAWUN", 34, d.NAWUN}, {"NAWUPF", 36, d.NAWUPF}, {"NABSN", 40, d.NABSN},
		{"NABO", 42, d.NABO}, {"NABSPF", 44, d.NABSPF}})
	if got := ns[24]&2 != 0; got != d.NSABP() {
		b.fail("%s: NSABP is %v", d.Serial, got)
	}
	if c[525]&1 != 1 {
		b.fail("%s: VWC is %#x: QEMU's drives have a volatile cache", d.Serial, c[525])
	}
	if lba := n.NS.LBA.Or(0); lba != uint64(d.LBA) {
		b.fail("%s: blocks of %d", d.Serial, lba)
	}
	for _, x := range []struct {
		name string
		got  hwprobe.Fact[uint64]
		want int
	}{{"awun", n.Ctrl.AWUN, d.AWUN}, {"awupf", n.Ctrl.AWUPF, d.AWUPF}, {"nawun", n.NS.NAWUN, d.NAWUN},
		{"nawupf", n.NS.NAWUPF, d.NAWUPF}, {"nabspf", n.NS.NABSPF, d.NABSPF}, {"nabo", n.NS.NABO, d.NABO}} {
		if v, ok := x.got.Get(); !ok || v != uint64(x.want) {
			b.fail("%s: decoded %s is %v, want %d", d.Serial, x.name, x.got, x.want)
		}
	}
	fmt.Printf("%-10s LBA %d, AWUN %d, AWUPF %d, NSABP %v, NAWUN %d, NAWUPF %d, NABSPF %d, "+
		"NABO %d, VWC %#x, subsystem %s\n",
		d.Serial, n.NS.LBA.Or(0), d.AWUN, d.AWUPF, d.NSABP(), d.NAWUN, d.NAWUPF, d.NABSPF, d.NABO,
		c[525], n.SubsysNQN)
}

func (b *bed) fields(d spec.Drive, page []byte, fs []field) {
	for _, f := range fs {
		if got := int(binary.LittleEndian.Uint16(page[f.off:])); got != f.want {
			b.fail("%s: %s at byte %d is %d, want %d", d.Serial, f.name, f.off, got, f.want)
		}
	}
}

func leaf(r *hwprobe.Report) *hwprobe.NVMe {
	for i := range r.Devices {
		if r.Devices[i].NVMe != nil {
			return r.Devices[i].NVMe
		}
	}
	return nil
}
