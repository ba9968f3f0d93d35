package hwprobe

import (
	"errors"
	"strings"
)

// BlockDevices lists the device nodes of this machine's disks and partitions. Paths of a
// multipath NVMe device have no node and are left out, as are unused loop devices and other
// devices of size 0.
func BlockDevices() ([]string, error) { return blockDevices(source{root: "/"}) }

func blockDevices(s source) ([]string, error) {
	names := s.list("/sys/class/block")
	if names == nil {
		return nil, errors.New("hwprobe: /sys/class/block cannot be read")
	}
	var out []string
	for _, n := range names {
		if s.num("/sys/class/block/"+n+"/size").Or(1) == 0 {
			continue
		}
		// sysfs writes a slash in a name as !
		node := "/dev/" + strings.ReplaceAll(n, "!", "/")
		if s.exists(node) {
			out = append(out, node)
		}
	}
	return out, nil
}
