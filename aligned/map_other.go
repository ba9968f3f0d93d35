//go:build !unix

package aligned

import "errors"

func mapMemory(int) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmapMemory([]byte) error      { return nil }
func mapZeros(int) ([]byte, error)  { return nil, errors.ErrUnsupported }
