//go:build unix && !linux

package aligned

func adviseHuge([]byte) {}
