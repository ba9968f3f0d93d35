package hwprobe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// dmSpecSize is the size of struct dm_target_spec: sector_start, length (u64), status (s32),
// next (u32, from the start of the data), target_type[16]; the parameters follow as a string.
const dmSpecSize = 40

// parseTargets reads the answer of DM_TABLE_STATUS.
func parseTargets(buf []byte, start, count uint32) ([]Segment, error) {
	bad := errors.New("device mapper's answer is malformed")
	if uint64(start) > uint64(len(buf)) || count > maxDevices {
		return nil, bad
	}
	data := buf[start:]
	ne := binary.NativeEndian
	segs := make([]Segment, 0, count)
	at := uint64(0)
	for range count {
		if at+dmSpecSize > uint64(len(data)) {
			return nil, bad
		}
		spec := data[at:]
		params, _, _ := bytes.Cut(spec[dmSpecSize:], []byte{0})
		target, _, _ := bytes.Cut(spec[24:40], []byte{0})
		seg := Segment{Target: string(target), Start: ne.Uint64(spec), Length: ne.Uint64(spec[8:])}
		seg.place(strings.Fields(string(params)))
		segs = append(segs, seg)
		next := uint64(ne.Uint32(spec[20:]))
		if next <= at {
			break // the last one
		}
		at = next
	}
	if len(segs) != int(count) {
		return nil, bad
	}
	return segs, nil
}

// place takes from a target's parameters where it maps to, and nothing else: those of crypt hold
// the key. Formats are those of the kernel's admin-guide/device-mapper.
func (s *Segment) place(p []string) {
	var where []string
	switch s.Target {
	case "linear": // device offset
		where = p
	case "crypt": // cipher key iv_offset device offset ...
		if len(p) >= 5 {
			where = p[3:5]
		}
	case "striped": // count chunk (device offset)...
		if len(p) >= 2 {
			s.Chunk, _ = strconv.ParseUint(p[1], 10, 64)
			where = p[2:]
		}
	case "mirror": // log_type count args... count (device offset)... [features]
		if len(p) < 2 {
			return
		}
		logs, err := strconv.ParseUint(p[1], 10, 8)
		rest := 2 + int(logs)
		if err != nil || rest >= len(p) {
			return
		}
		n, err := strconv.ParseUint(p[rest], 10, 8)
		if from := rest + 1; err == nil && from+2*int(n) <= len(p) {
			where = p[from : from+2*int(n)]
		}
	}
	if len(where)%2 != 0 {
		return
	}
	var parts []Extent
	for i := 0; i < len(where); i += 2 {
		off, err := strconv.ParseUint(where[i+1], 10, 64)
		if err != nil {
			return
		}
		parts = append(parts, Extent{Dev: where[i], Offset: off})
	}
	s.Parts = parts
}
