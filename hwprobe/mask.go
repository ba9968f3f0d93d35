package hwprobe

import (
	"bytes"
	"strings"
)

// Byte ranges of the Identify pages that hold nothing but unique identity.
var (
	ctrlSecrets = [][2]int{{4, 24}, {112, 128}, {768, 1024}} // serial, FGUID, subsystem NQN
	nsSecrets   = [][2]int{{104, 128}}                       // NGUID, EUI64
)

// mask blanks what identifies one drive or volume: serial numbers wherever they occur, unique ids,
// the ids in device-mapper UUIDs. Models, firmware and the emulations' subsystem prefix stay.
func (r *Report) mask() {
	r.Masked = true
	for i := range r.Devices {
		d := &r.Devices[i]
		if d.DM != nil {
			if uuid, ok := d.DM.UUID.Get(); ok {
				kind, _, found := strings.Cut(uuid, "-")
				if found {
					d.DM.UUID = Known(kind+"-masked", d.DM.UUID.From())
				} else if uuid != "" {
					d.DM.UUID = Known("masked", d.DM.UUID.From())
				}
			}
		}
		if d.NVMe != nil {
			d.NVMe.mask()
		}
	}
}

func (n *NVMe) mask() {
	var serials []string
	if s, ok := n.Serial.Get(); ok && s != "" {
		serials = append(serials, s)
		n.Serial = Known("masked", n.Serial.From())
	}
	if raw := n.Ctrl.Raw; len(raw) == IDPageSize {
		if s := asciiField(raw[4:24]); s != "" {
			serials = append(serials, s)
		}
		nqn := maskNQN(asciiField(raw[768:1024]))
		blank(raw, ctrlSecrets)
		copy(raw[768:1024], nqn)
		if n.Ctrl.SubNQN.Known() {
			n.Ctrl.SubNQN = Known(nqn, n.Ctrl.From)
		}
	} else if s, ok := n.Ctrl.SubNQN.Get(); ok {
		n.Ctrl.SubNQN = Known(maskNQN(s), n.Ctrl.SubNQN.From())
	}
	if s, ok := n.SubsysNQN.Get(); ok {
		n.SubsysNQN = Known(maskNQN(s), n.SubsysNQN.From())
	}
	if raw := n.NS.Raw; len(raw) == IDPageSize {
		blank(raw, nsSecrets)
	}
	// Vendors repeat the serial in their own bytes (Amazon's volume id is one).
	for _, s := range serials {
		if len(s) < 6 {
			continue // too short to be told from other text
		}
		for _, raw := range []IDPage{n.Ctrl.Raw, n.NS.Raw} {
			replaceAll(raw, []byte(s))
		}
	}
}

// maskNQN keeps the naming authority, which tells emulations apart, and drops the rest.
func maskNQN(nqn string) string {
	if nqn == "" {
		return ""
	}
	authority, rest, ok := strings.Cut(nqn, ":")
	switch {
	case !ok:
		return "masked"
	case strings.HasPrefix(rest, "uuid:linux"):
		return authority + ":uuid:linux-masked"
	}
	return authority + ":masked"
}

func blank(raw IDPage, ranges [][2]int) {
	for _, r := range ranges {
		clear(raw[r[0]:r[1]])
	}
}

func replaceAll(raw IDPage, serial []byte) {
	for at := 0; at < len(raw); {
		i := bytes.Index(raw[at:], serial)
		if i < 0 {
			return
		}
		for j := range serial {
			raw[at+i+j] = '*'
		}
		at += i + len(serial)
	}
}
