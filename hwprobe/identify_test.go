package hwprobe

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
)

// ctrlPage and nsPage lay out pages by the offsets of the specification, independently of decode.
func ctrlPage(set map[int]byte) IDPage {
	p := make(IDPage, IDPageSize)
	binary.LittleEndian.PutUint16(p[0:], 0x1e0f)
	copy(p[4:24], "SERIAL0123456789    ")
	copy(p[24:64], "Example Model                           ")
	copy(p[64:72], "FW1.0   ")
	p[512], p[513] = 0x66, 0x44
	p[525] = 7
	binary.LittleEndian.PutUint16(p[526:], 255)
	binary.LittleEndian.PutUint16(p[528:], 63)
	binary.LittleEndian.PutUint16(p[532:], 3)
	copy(p[768:], "nqn.2014-08.org.example:nvme:SERIAL0123456789")
	copy(p[3072:], "vendor SERIAL0123456789 area")
	for o, v := range set {
		p[o] = v
	}
	return p
}

func nsPage(set map[int]byte) IDPage {
	p := make(IDPage, IDPageSize)
	p[0] = 1
	p[24], p[25], p[26] = 0x12, 1, 1
	for i, v := range []uint16{127, 63, 5, 255, 0, 127, 256} { // NAWUN 34 ... NOIOB 46
		binary.LittleEndian.PutUint16(p[34+2*i:], v)
	}
	p[128+2], p[132+2] = 9, 12
	copy(p[104:128], "uniqueidentifieruniqueid")
	binary.LittleEndian.PutUint16(p[640:], 31)
	for o, v := range set {
		p[o] = v
	}
	return p
}

func TestIdentifyDecodes(t *testing.T) {
	c, n := IDCtrl{Raw: ctrlPage(nil)}, IDNS{Raw: nsPage(nil)}
	if err := c.decode(); err != nil {
		t.Fatal(err)
	}
	if err := n.decode(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name string
		got  Fact[uint64]
		want uint64
	}{
		{"vid", c.VID, 0x1e0f}, {"vwc", c.VWC, 7}, {"awun", c.AWUN, 255}, {"awupf", c.AWUPF, 63}, {"acwu", c.ACWU, 3},
		{"lba", n.LBA, 4096}, {"nsfeat", n.NSFEAT, 0x12}, {"nawun", n.NAWUN, 127}, {"nawupf", n.NAWUPF, 63},
		{"nacwu", n.NACWU, 5}, {"nabsn", n.NABSN, 255}, {"nabo", n.NABO, 0}, {"nabspf", n.NABSPF, 127},
		{"noiob", n.NOIOB, 256}, {"ntwpu", n.NTWPU, 31},
	} {
		if v, ok := x.got.Get(); !ok || v != x.want {
			t.Errorf("%s is %v (%s), want %d", x.name, v, x.got.Why(), x.want)
		}
	}
	if m := c.Model.Or(""); m != "Example Model" {
		t.Errorf("model %q", m)
	}
}

func TestFormatInUse(t *testing.T) {
	for _, x := range []struct {
		name string
		set  map[int]byte
		want uint64
	}{
		{"first format", map[int]byte{26: 0}, 512},
		{"second", map[int]byte{26: 1}, 4096},
		{"high bits count only above 16 formats", map[int]byte{26: 1 | 1<<5}, 4096},
		{"format 17 of 20", map[int]byte{25: 19, 26: 1 | 1<<5, 128 + 4*17 + 2: 13}, 8192},
		{"format beyond the list", map[int]byte{26: 5}, 0},
		{"more formats than there are", map[int]byte{25: 64}, 0},
		{"blocks of one byte", map[int]byte{26: 1, 134: 0}, 0},
		{"blocks of 2^63 bytes", map[int]byte{26: 1, 134: 63}, 0},
	} {
		if got, why := lbaSize(nsPage(x.set)); got != x.want || (got == 0) == (why == "") {
			t.Errorf("%s: %d (%s), want %d", x.name, got, why, x.want)
		}
	}
}

func TestImplausiblePagesAreNotRead(t *testing.T) {
	for name, page := range map[string]IDPage{
		"zeros":           make(IDPage, IDPageSize),
		"ones":            bytes.Repeat([]byte{0xff}, IDPageSize),
		"short":           make(IDPage, 512),
		"no entry sizes":  ctrlPage(map[int]byte{512: 0}),
		"model not ASCII": ctrlPage(map[int]byte{30: 0x01}),
	} {
		c := IDCtrl{Raw: page, VWC: Known(uint64(0), "written by hand")}
		if err := c.decode(); err != nil {
			t.Fatal(err)
		}
		if c.Missing == "" || c.VWC.Known() {
			t.Errorf("%s: taken for a page", name)
		}
	}
}

func TestRawPageMustAgreeWithFields(t *testing.T) {
	c := IDCtrl{Raw: ctrlPage(nil), AWUPF: Known(uint64(127), "written by hand")}
	if err := c.decode(); err == nil || !strings.Contains(err.Error(), "awupf") {
		t.Errorf("a field that contradicts its page: %v", err)
	}
}

func TestPageJSON(t *testing.T) {
	want := ctrlPage(nil)
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got IDPage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("a page does not survive its dump")
	}
	for _, bad := range []string{`["xyz: 00"]`, `["000 00"]`, `["fff: 0000"]`, `["000: 0"]`,
		`["000: zz"]`, `["10000: 00"]`, `"00"`, `[1]`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is taken for a page", bad)
		}
	}
}

func TestMask(t *testing.T) {
	d := Device{Name: "nvme0n1", Kind: KindNVMe, NVMe: &NVMe{
		Serial:    Known("SERIAL0123456789", "sysfs"),
		SubsysNQN: Known("nqn.2019-08.org.qemu:SERIAL0123456789", "sysfs"),
		Ctrl:      IDCtrl{Raw: ctrlPage(nil)}, NS: IDNS{Raw: nsPage(nil)},
	}}
	copy(d.NVMe.NS.Raw[3000:], "SERIAL0123456789")
	r := &Report{Schema: SchemaCapture, Devices: []Device{d,
		{Name: "dm-0", Kind: KindDM, DM: &DM{UUID: Known("LVM-abcdefghijkl", "sysfs")}}}}
	if err := r.normalise(); err != nil {
		t.Fatal(err)
	}
	r.mask()
	var b bytes.Buffer
	if err := WriteCaptures(&b, []*Report{r}); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"SERIAL0123456789", "abcdefghijkl",
		"53455249414c30313233343536373839", "756e69717565"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%q is still in the capture", secret)
		}
	}
	for _, kept := range []string{"org.qemu", "Example Model", "LVM-masked"} {
		if !strings.Contains(b.String(), kept) {
			t.Errorf("%q is gone from the capture", kept)
		}
	}
	if _, err := ReadCaptures(&b); err != nil {
		t.Errorf("a masked capture is refused: %v", err)
	}
}
