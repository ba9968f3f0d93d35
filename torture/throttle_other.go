//go:build !linux

package torture

import "errors"

type throttle struct{}

func newThrottle(string) (*throttle, error) {
	return nil, errors.New("control groups are Linux's")
}

func (t *throttle) add(int) error { return nil }
func (t *throttle) close()        {}
