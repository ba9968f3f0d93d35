// Package vm makes small virtual machines for tests that need a Linux block stack of their own: a
// kernel, a static Go program as process 1, drives. It needs no root and no KVM.
//
// qemu, a kernel and its modules are fetched as packages by the machine's own apt, from the archive it
// already uses, into a cache folder; nothing is installed. Package inside is for the guest.
package vm

import (
	"errors"
	"fmt"
)

// ErrSkip marks what this machine lacks, as against what is broken.
var ErrSkip = errors.New("SKIP")

// Skip is an ErrSkip with its reason.
func Skip(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrSkip, fmt.Sprintf(format, a...))
}
