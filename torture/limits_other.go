//go:build !linux

package torture

import "errors"

var errNotLinux = errors.New("this is done on Linux only")

// group is a control group, which only Linux has.
type group struct{}

func newThrottle(string) (*group, error) { return nil, errNotLinux }
func newMemoryLimit() (*group, error)    { return nil, errNoLimits }
func (g *group) add(int) error           { return nil }
func (g *group) close()                  {}

func (c *child) hog() error { return errNotLinux }

// smallDisk is a file system of its own on a loop device.
type smallDisk struct{ dir, image string }

func newSmallDisk(string, string, bool) (*smallDisk, error) { return nil, errNotLinux }
func (d *smallDisk) fill(uint64) error                      { return nil }
func (d *smallDisk) release() error                         { return nil }
func (d *smallDisk) close() error                           { return nil }
