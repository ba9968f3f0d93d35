//go:build !linux

package ring

import "errors"

func newUring(Config, string) (Ring, error) {
	return nil, errors.New("io_uring exists on Linux only")
}
