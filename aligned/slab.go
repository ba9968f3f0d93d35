package aligned

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

// HugePage is what a large Slab is aligned to, so that the kernel can back it with huge pages.
const HugePage = 2 << 20

// Slab is one piece of zeroed memory outside the Go heap.
type Slab struct {
	mem    []byte // what was asked for, aligned
	mapped []byte // what to unmap, nil if mem is on the heap
	once   sync.Once
	err    error
}

// NewSlab makes a slab of n bytes at a multiple of align, a power of two.
func NewSlab(n, align int) (*Slab, error) {
	if n <= 0 || align <= 0 || align&(align-1) != 0 {
		return nil, fmt.Errorf("aligned: a slab of %d bytes aligned to %d: want a positive size "+
			"and a power of two", n, align)
	}
	if n > maxInt-align {
		return nil, fmt.Errorf("aligned: a slab of %d bytes: %w", n, ErrTooLarge)
	}
	if n >= HugePage {
		align = max(align, HugePage)
	}
	mapped, err := mapMemory(n + align)
	switch {
	case err == nil:
		return &Slab{mem: alignIn(mapped, n, align), mapped: mapped}, nil
	case errors.Is(err, errors.ErrUnsupported):
		return &Slab{mem: Alloc(n, align)}, nil
	}
	return nil, fmt.Errorf("aligned: cannot map %d bytes: %w", n+align, err)
}

const maxInt = int(^uint(0) >> 1)

// Bytes is the memory. It must not be touched after Close.
func (s *Slab) Bytes() []byte { return s.mem }

// Close gives the memory back. Nothing may use it any more, least of all I/O in flight.
func (s *Slab) Close() error {
	s.once.Do(func() {
		s.mem = nil
		if s.mapped != nil {
			s.err = unmapMemory(s.mapped)
			s.mapped = nil
		}
	})
	return s.err
}

// IsAligned reports whether b starts at a multiple of align and its length is one.
func IsAligned(b []byte, align int) bool {
	return (addr(b)|uintptr(len(b)))&uintptr(align-1) == 0
}

func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// alignIn is the part of b, n bytes long, that starts at the first multiple of align. Its capacity
// ends there too: an append must not run into what follows.
func alignIn(b []byte, n, align int) []byte {
	skip := int(-addr(b) & uintptr(align-1))
	return b[skip : skip+n : skip+n]
}
