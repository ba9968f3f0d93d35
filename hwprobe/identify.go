package hwprobe

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// IDPageSize is the size of every Identify data structure (NVMe base specification, Identify).
const IDPageSize = 4096

// IDPage is a raw Identify page. In JSON it is a sparse hex dump, rows of 32 bytes as
// "OFFSET: HEX" with a hexadecimal offset; rows left out are zeros.
type IDPage []byte

const idRow = 32

// MarshalJSON writes the rows that are not all zeros.
func (p IDPage) MarshalJSON() ([]byte, error) {
	rows := []string{}
	for o := 0; o < len(p); o += idRow {
		row := p[o:min(o+idRow, len(p))]
		if allBytes(row, 0) {
			continue
		}
		rows = append(rows, fmt.Sprintf("%03x: %x", o, []byte(row)))
	}
	return json.Marshal(rows)
}

// UnmarshalJSON reads rows in any order and of any length, inside one page.
func (p *IDPage) UnmarshalJSON(b []byte) error {
	var rows []string
	if err := json.Unmarshal(b, &rows); err != nil {
		return err
	}
	if rows == nil {
		*p = nil
		return nil
	}
	page := make([]byte, IDPageSize)
	for _, r := range rows {
		off, hx, ok := strings.Cut(r, ":")
		o, err := strconv.ParseUint(strings.TrimSpace(off), 16, 16)
		if !ok || err != nil {
			return fmt.Errorf("identify row %.20q is not OFFSET: HEX", r)
		}
		hx = strings.ReplaceAll(strings.TrimSpace(hx), " ", "")
		if int(o)+len(hx)/2 > IDPageSize {
			return fmt.Errorf("identify row %.20q runs past the page", r)
		}
		if _, err := hex.Decode(page[o:], []byte(hx)); err != nil {
			return fmt.Errorf("identify row %.20q: %w", r, err)
		}
	}
	*p = page
	return nil
}

// IDCtrl is Identify Controller (CNS 01h). Byte offsets are the specification's.
type IDCtrl struct {
	Missing  string       `json:"missing,omitempty"` // why there is no page
	From     string       `json:"from,omitempty"`
	Raw      IDPage       `json:"raw,omitempty"`
	VID      Fact[uint64] `json:"vid,omitzero"`
	Model    Fact[string] `json:"model,omitzero"`
	Firmware Fact[string] `json:"firmware,omitzero"`
	VWC      Fact[uint64] `json:"vwc,omitzero"`
	AWUN     Fact[uint64] `json:"awun,omitzero"`
	AWUPF    Fact[uint64] `json:"awupf,omitzero"`
	ACWU     Fact[uint64] `json:"acwu,omitzero"`
	SubNQN   Fact[string] `json:"subnqn,omitzero"`
}

// IDNS is Identify Namespace (CNS 00h), with the block size of the format in use.
type IDNS struct {
	Missing string       `json:"missing,omitempty"`
	From    string       `json:"from,omitempty"`
	Raw     IDPage       `json:"raw,omitempty"`
	LBA     Fact[uint64] `json:"lba_bytes,omitzero"`
	NSFEAT  Fact[uint64] `json:"nsfeat,omitzero"`
	NAWUN   Fact[uint64] `json:"nawun,omitzero"`
	NAWUPF  Fact[uint64] `json:"nawupf,omitzero"`
	NACWU   Fact[uint64] `json:"nacwu,omitzero"`
	NABSN   Fact[uint64] `json:"nabsn,omitzero"`
	NABO    Fact[uint64] `json:"nabo,omitzero"`
	NABSPF  Fact[uint64] `json:"nabspf,omitzero"`
	NOIOB   Fact[uint64] `json:"noiob,omitzero"`
	// NTWPU, NTWPG and NTWPB are Amazon's torn-write-prevention fields, in the vendor's bytes:
	// they mean something only on Amazon's models.
	NTWPU Fact[uint64] `json:"ntwpu,omitzero"`
	NTWPG Fact[uint64] `json:"ntwpg,omitzero"`
	NTWPB Fact[uint64] `json:"ntwpb,omitzero"`
}

// NSFEAT bit 1: NAWUN, NAWUPF and NACWU are this namespace's own (NVM command set, NSABP).
const nsfeatNSABP = 1 << 1

func u16(b IDPage, o int) uint64 { return uint64(binary.LittleEndian.Uint16(b[o:])) }
func u32(b IDPage, o int) uint64 { return uint64(binary.LittleEndian.Uint32(b[o:])) }

// decode fills the fields from the raw page. A page that no controller would send is treated as
// not read: VWC 0 from a page of zeros must not count as "has no volatile cache".
func (c *IDCtrl) decode() error {
	if c.Raw == nil {
		return nil
	}
	if why := implausibleCtrl(c.Raw); why != "" {
		*c = IDCtrl{Raw: c.Raw, From: c.From, Missing: why}
		return nil
	}
	p, from := c.Raw, c.From
	return errorsOf("identify controller",
		put(&c.VID, "vid", u16(p, 0), from),
		put(&c.Model, "model", asciiField(p[24:64]), from),
		put(&c.Firmware, "firmware", asciiField(p[64:72]), from),
		put(&c.VWC, "vwc", uint64(p[525]), from),
		put(&c.AWUN, "awun", u16(p, 526), from),
		put(&c.AWUPF, "awupf", u16(p, 528), from),
		put(&c.ACWU, "acwu", u16(p, 532), from),
		put(&c.SubNQN, "subnqn", asciiField(p[768:1024]), from),
	)
}

// decode fills the fields from the raw page, as for the controller.
func (n *IDNS) decode() error {
	if n.Raw == nil {
		return nil
	}
	lba, why := lbaSize(n.Raw)
	if why != "" {
		*n = IDNS{Raw: n.Raw, From: n.From, Missing: why}
		return nil
	}
	p, from := n.Raw, n.From
	return errorsOf("identify namespace",
		put(&n.LBA, "lba_bytes", lba, from),
		put(&n.NSFEAT, "nsfeat", uint64(p[24]), from),
		put(&n.NAWUN, "nawun", u16(p, 34), from),
		put(&n.NAWUPF, "nawupf", u16(p, 36), from),
		put(&n.NACWU, "nacwu", u16(p, 38), from),
		put(&n.NABSN, "nabsn", u16(p, 40), from),
		put(&n.NABO, "nabo", u16(p, 42), from),
		put(&n.NABSPF, "nabspf", u16(p, 44), from),
		put(&n.NOIOB, "noiob", u16(p, 46), from),
		put(&n.NTWPU, "ntwpu", u16(p, 640), from),
		put(&n.NTWPG, "ntwpg", u16(p, 642), from),
		put(&n.NTWPB, "ntwpb", u32(p, 644), from),
	)
}

// put sets a decoded field, and refuses a capture whose field says otherwise than its raw page.
func put[T comparable](f *Fact[T], name string, v T, from string) error {
	if had, ok := f.Get(); ok && had != v {
		return fmt.Errorf("%s is %v, but the raw page holds %v", name, had, v)
	}
	*f = Known(v, from)
	return nil
}

func errorsOf(what string, errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// implausibleCtrl says why a page cannot be an Identify Controller page, or "". The entry sizes
// are fixed by the specification: SQES and CQES (bytes 512, 513) have 6 and 4 as their minimum.
func implausibleCtrl(p IDPage) string {
	switch {
	case len(p) != IDPageSize:
		return fmt.Sprintf("Identify page has %d bytes", len(p))
	case allBytes(p, 0):
		return "Identify Controller page is all zeros"
	case allBytes(p, 0xff):
		return "Identify Controller page is all ones"
	case p[512]&0xf != 6 || p[513]&0xf != 4:
		return "Identify Controller page is not plausible: queue entry sizes are not 6 and 4"
	case asciiField(p[24:64]) == "":
		return "Identify Controller page is not plausible: no model in ASCII"
	}
	return ""
}

// lbaSize is the block size of the format in use: FLBAS bits 3:0, with bits 6:5 above them when
// there are more than 16 formats, chooses LBAF[]; byte 2 of that is the power of two.
func lbaSize(p IDPage) (uint64, string) {
	switch {
	case len(p) != IDPageSize:
		return 0, fmt.Sprintf("Identify page has %d bytes", len(p))
	case allBytes(p, 0):
		return 0, "Identify Namespace page is all zeros: no active namespace"
	case allBytes(p, 0xff):
		return 0, "Identify Namespace page is all ones"
	}
	nlbaf, flbas := p[25], p[26]
	i := int(flbas & 0xf)
	if nlbaf >= 16 { // 0's based: more than 16 formats
		i |= int(flbas>>5&3) << 4
	}
	if nlbaf > 63 || i > int(nlbaf) {
		return 0, fmt.Sprintf("Identify Namespace page is not plausible: format %d of %d", i,
			int(nlbaf)+1)
	}
	lbads := p[128+4*i+2]
	if lbads < 9 || lbads > 16 {
		return 0, fmt.Sprintf("Identify Namespace page is not plausible: blocks of 2^%d bytes", lbads)
	}
	return 1 << lbads, ""
}

// asciiField is a blank- or NUL-padded string, or "" if it holds anything but printable ASCII.
func asciiField(b []byte) string {
	s := strings.TrimRight(string(b), " \x00")
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return strings.TrimSpace(s)
}

func allBytes(b []byte, v byte) bool {
	for _, c := range b {
		if c != v {
			return false
		}
	}
	return true
}
