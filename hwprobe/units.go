package hwprobe

import "fmt"

// size writes a byte count as people say it: "16 KiB", "512 B".
func size(n uint64) string {
	for _, u := range []struct {
		name string
		n    uint64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.n && n%u.n == 0 {
			return fmt.Sprintf("%d %s", n/u.n, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func factSize(f Fact[uint64]) string {
	if n, ok := f.Get(); ok {
		return size(n)
	}
	return "?"
}

func isPow2(n uint64) bool { return n != 0 && n&(n-1) == 0 }

// sectorsAligned tells whether a place counted in 512-byte sectors is a multiple of n bytes. It
// cannot overflow whatever a capture says.
func sectorsAligned(sectors, n uint64) bool {
	switch {
	case n == 0:
		return false
	case n%512 != 0:
		return sectors == 0
	}
	return sectors%(n/512) == 0
}
