package hwprobe

import (
	"strconv"
	"strings"
)

const mountinfoPath = "/proc/self/mountinfo"

// mountOf finds the mount a path is on: by the mount id statx gave, else the longest mount point
// that is a prefix of the (resolved) path; of several on one point the last is on top.
func mountOf(s source, path string, id Fact[uint64]) *Mount {
	b, err := s.bytesMax(mountinfoPath, 8<<20)
	if err != nil {
		why := reason(err)
		return &Mount{FS: Missing[string](why, mountinfoPath), Super: Missing[string](why, mountinfoPath),
			Options: Missing[string](why, mountinfoPath)}
	}
	want, byID := id.Get()
	var best *Mount
	longest := -1
	for line := range strings.Lines(string(b)) {
		m, mid, ok := parseMountinfo(line)
		if !ok {
			continue
		}
		if byID {
			if mid == want {
				return m
			}
			continue
		}
		point := m.Point.Or("")
		if under(path, point) && len(point) >= longest {
			best, longest = m, len(point)
		}
	}
	if best == nil {
		return &Mount{FS: Missing[string]("no line for this path", mountinfoPath)}
	}
	return best
}

func under(path, point string) bool {
	return point == "/" || path == point || strings.HasPrefix(path, point+"/")
}

// parseMountinfo reads one line of proc_pid_mountinfo(5):
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMountinfo(line string) (*Mount, uint64, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 6 || len(r) < 2 {
		return nil, 0, false
	}
	id, err := strconv.ParseUint(l[0], 10, 64)
	if err != nil {
		return nil, 0, false
	}
	super := ""
	if len(r) > 2 {
		super = r[2]
	}
	k := func(v string) Fact[string] { return Known(unescape(v), mountinfoPath) }
	return &Mount{Dev: k(l[2]), Point: k(l[4]), Options: k(l[5]), FS: k(r[0]), Source: k(r[1]),
		Super: k(super)}, id, true
}

// unescape undoes the kernel's octal escapes of blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
