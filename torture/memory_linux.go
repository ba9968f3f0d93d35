package torture

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// memoryLimit is above what a child needs for its work, so that it dies of what it hogs.
	memoryLimit = 192 << 20
	// hogStep is taken each millisecond: a child is dead within a second.
	hogStep = 4 << 20
)

// newMemoryLimit makes a group whose processes the kernel kills when they take more than their
// share (memory.max in cgroup v2, memory.limit_in_bytes in v1; no swap in either).
func newMemoryLimit() (*group, error) {
	v := strconv.Itoa(memoryLimit)
	v2 := map[string]string{"memory.swap.max": "0"}
	g, err := newGroup("memory", []limit{
		{cgroupRoot, "memory.max", v, v2},
		{cgroupRoot + "/unified", "memory.max", v, v2},
		{cgroupRoot + "/memory", "memory.limit_in_bytes", v, map[string]string{"memory.memsw.limit_in_bytes": v}},
	})
	if err != nil {
		return nil, fmt.Errorf("no control group that limits memory: %w", err)
	}
	return g, nil
}

// hog takes memory until that kills the process: the kernel's OOM killer, or, with HogBytes, an
// allocation that fails and ends a Go program on the spot.
func (c *child) hog() error {
	if n := c.j.HogBytes; n > 0 {
		if err := limitAddressSpace(n); err != nil {
			return err
		}
	}
	go func() {
		time.Sleep(time.Duration(c.j.Hog) * time.Millisecond)
		var all [][]byte
		for {
			b := make([]byte, hogStep)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
			runtime.KeepAlive(all)
			time.Sleep(time.Millisecond)
		}
	}()
	return nil
}

// limitAddressSpace allows this process n bytes more than it has mapped.
func limitAddressSpace(n uint64) error {
	have, err := mapped()
	if err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: have + n, Max: have + n})
}

// mapped is how much address space this process has, from /proc.
func mapped() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var pages uint64
	if _, err := fmt.Sscan(string(b), &pages); err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}
