// Package spec is what the two halves of the NVMe test bed share: which drives there are, what lies
// on them, and what hwprobe must say of each.
package spec

// Drive is one emulated controller with one namespace. Atomic values are raw, 0's based counts of
// blocks, as they must come back in Identify.
type Drive struct {
	Serial   string // drives are found by it: names change between boots
	Model    string
	Firmware string
	MiB      int
	LBA      int // 512 or 4096

	AWUN, AWUPF                        int      // controller
	NAWUN, NAWUPF, NABSN, NABSPF, NABO int      // namespace
	Format                             []string // mkfs command without the file; nil: no file system
	Parts                              []uint32 // starts of MBR partitions, in sectors
}

// NSABP tells whether the namespace has limits of its own.
func (d Drive) NSABP() bool { return d.NAWUN+d.NAWUPF+d.NABSN+d.NABSPF+d.NABO > 0 }

const model, firmware = "Bed Drive", "BED1"

var (
	mkXFS  = []string{"mkfs.xfs", "-q", "-f"}
	mkExt4 = []string{"mkfs.ext4", "-q", "-F", "-b", "4096"}
	mkBig  = []string{"mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "bigalloc", "-C", "65536"}
)

// Drives are the test bed. Software limits of XFS need 300 MiB and more.
func Drives() []Drive {
	return []Drive{
		{Serial: "RAW64K", MiB: 64, LBA: 512, NAWUN: 127, NAWUPF: 127},
		{Serial: "RAW4KN", MiB: 64, LBA: 4096, NAWUN: 3, NAWUPF: 3},
		{Serial: "PARTS", MiB: 64, LBA: 512, NAWUN: 31, NAWUPF: 31, Parts: []uint32{63, 2048}},
		{Serial: "BOUND", MiB: 64, LBA: 512, NAWUN: 31, NAWUPF: 31, NABSN: 127, NABSPF: 63},
		{Serial: "NABO8", MiB: 64, LBA: 512, NAWUN: 31, NAWUPF: 31, NABSN: 127, NABSPF: 63, NABO: 8},
		{Serial: "CTRLONLY", MiB: 64, LBA: 512, AWUN: 127, AWUPF: 127},
		{Serial: "PLAIN", MiB: 64, LBA: 512},
		{Serial: "XFS64K", MiB: 512, LBA: 512, NAWUN: 127, NAWUPF: 127, Format: mkXFS},
		{Serial: "XFSNONE", MiB: 512, LBA: 512, Format: mkXFS},
		{Serial: "EXT4", MiB: 128, LBA: 512, NAWUN: 127, NAWUPF: 127, Format: mkExt4},
		{Serial: "BIGALLOC", MiB: 128, LBA: 512, NAWUN: 127, NAWUPF: 127, Format: mkBig},
		{Serial: "LEG0", MiB: 64, LBA: 512, NAWUN: 31, NAWUPF: 31},
		{Serial: "LEG1", MiB: 64, LBA: 512, NAWUN: 31, NAWUPF: 31},
		{Serial: "LEGSHORT", MiB: 64, LBA: 512, NAWUN: 7, NAWUPF: 7},
	}
}

// Model and Firmware of every drive: not QEMU's own, so that only the subsystem's name and the PCI
// vendor give the emulation away.
func Model() string    { return model }
func Firmware() string { return firmware }

// Parameters of kernel modules in the guest.
var Parameters = map[string]string{
	"scsi-debug": "atomic_wr=1 dev_size_mb=64 sector_size=512",
}

// Want is what hwprobe must say of one target, for one page size.
type Want struct {
	Page   int
	Strict string // answer and rule without any policy: "unknown 11b"
	Test   string // the same with TrustEmulated and TrustAWUPF: what the numbers themselves allow
}

// Target is a thing to probe: a drive, a partition of it (":1"), its file system ("/"), or a
// device built from drives.
type Target struct {
	Name string
	// Build is "", "linear LEG0 OFFSET", "striped CHUNK LEG0 LEG1", "raid0 CHUNK LEG0 LEG1" or
	// "raid1 LEG0 LEG1" (chunks in sectors).
	Build   string
	UnitMin uint64 // what statx must say
	UnitMax uint64
	Wants   []Want
	// Errnos is a row of the errno table: see Columns. "" leaves it out.
	Errnos string
	// Engine is the page size of the engine's run in mode atomic; 0 leaves it out.
	Engine int
	// Change is how the limit shrinks below it under the running engine: "remount" (XFS), "reload" (a
	// device-mapper table), "" not at all.
	Change string
	// Beyond is a page size that the kernel must refuse although hwprobe's answer was overridden.
	Beyond int
	// Compare measures atomic beside none and doublewrite.
	Compare bool
}

// Columns of the errno table: O_DIRECT writes with RWF_ATOMIC, each on its own.
var Columns = []string{"512", "4K", "8K", "16K", "64K", "128K", "1M", "12K", "misaligned",
	"2 buffers", "mem+1", "buffered"}

// Targets in order. o = ok, I = EINVAL, N = EOPNOTSUPP.
func Targets() []Target {
	k := func(n int) int { return n << 10 }
	return []Target{
		{Name: "RAW64K", UnitMin: 512, UnitMax: 65536, Errnos: "oooooIIIIIIN", Engine: k(64), Wants: []Want{
			{k(16), "unknown 11b", "relaxed 14"}, {k(64), "unknown 11b", "relaxed 14"}, {k(128),
				"required 4", "required 4"}}},
		{Name: "RAW4KN", UnitMin: 4096, UnitMax: 16384, Errnos: "IoooIIIIIIIN", Engine: k(16), Beyond: k(32), Wants: []Want{
			{k(16), "unknown 11b", "relaxed 14"}, {512, "required 1", "required 1"}}},
		{Name: "PARTS:1", UnitMin: 512, UnitMax: 16384, Wants: []Want{{k(16), "required 10",
			"required 10"}}},
		{Name: "PARTS:2", UnitMin: 512, UnitMax: 16384, Errnos: "ooooIIIIIIIN",
			Engine: k(16), Wants: []Want{{k(16), "unknown 11b", "relaxed 14"}}},
		{Name: "BOUND", UnitMin: 512, UnitMax: 16384, Engine: k(16), Wants: []Want{{k(16), "unknown 11b",
			"relaxed 14"}}},
		{Name: "NABO8", Errnos: "NNNNNNNNNNNN", Beyond: k(16), Wants: []Want{{k(16), "required 2", "required 2"}}},
		{Name: "CTRLONLY", UnitMin: 512, UnitMax: 512, Errnos: "oIIIIIIIIIIN",
			Beyond: k(16), Wants: []Want{{k(16), "required 4", "required 4"}, {512, "unknown 11b", "relaxed 14"}}},
		{Name: "PLAIN", UnitMin: 512, UnitMax: 512, Wants: []Want{{k(4), "required 4", "required 4"}}},
		{Name: "XFS64K/", UnitMin: 4096, UnitMax: 1 << 20, Errnos: "IooooooIIIIN",
			Engine: k(16), Change: "remount", Compare: true, Wants: []Want{
				{k(16), "unknown 11b", "relaxed 14"}, {k(128), "unknown 8", "relaxed 8"}}},
		{Name: "XFSNONE/", UnitMin: 4096, UnitMax: 1 << 20, Wants: []Want{{k(16), "unknown 8",
			"relaxed 8"}}},
		{Name: "EXT4/", UnitMin: 4096, UnitMax: 4096, Errnos: "IoIIIIIIIIIN",
			Engine: k(4), Beyond: k(16), Wants: []Want{
				{k(4), "unknown 11b", "relaxed 14"}, {k(16), "required 4", "required 4"}}},
		{Name: "BIGALLOC/", UnitMin: 4096, UnitMax: 65536, Errnos: "IooooIIIIIIN",
			Engine: k(16), Compare: true, Wants: []Want{
				{k(16), "unknown 11b", "relaxed 14"}, {k(64), "unknown 11b", "relaxed 14"}}},
		{Name: "linear", Build: "linear LEG0 2048", UnitMin: 512, UnitMax: 16384,
			Errnos: "ooooIIIIIIIN", Engine: k(16), Change: "reload", Wants: []Want{{k(16), "unknown 11b", "relaxed 14"}}},
		{Name: "linear+7", Build: "linear LEG0 2055", Wants: []Want{{k(16), "required *", "required *"}}},
		{Name: "striped", Build: "striped 128 LEG0 LEG1", UnitMin: 512, UnitMax: 16384,
			Wants: []Want{{k(16), "unknown 11b", "relaxed 14"}}},
		{Name: "striped-4K", Build: "striped 8 LEG0 LEG1", Wants: []Want{{k(16), "required *",
			"required *"}}},
		{Name: "raid0", Build: "raid0 128 LEG0 LEG1", UnitMin: 512, UnitMax: 16384,
			Wants: []Want{{k(16), "unknown 11b", "relaxed 14"}}},
		{Name: "raid1", Build: "raid1 LEG0 LEG1", UnitMin: 512, UnitMax: 16384,
			Errnos: "ooooIIIIIIIN", Engine: k(16), Wants: []Want{{k(16), "unknown 11b", "relaxed 14"}}},
		{Name: "SCSI", Wants: []Want{{k(4), "unknown 12", "relaxed 14"}}},
		{Name: "raid1-short", Build: "raid1 LEG0 LEGSHORT", UnitMin: 512, UnitMax: 4096,
			Wants: []Want{{k(16), "required 4", "required 4"}}},
	}
}
