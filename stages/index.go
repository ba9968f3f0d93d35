package stages

import "github.com/untorn/untorn/page"

// Index finds what a stage keeps per page in flight. It is an open-addressed table of fixed size:
// what is in flight is bounded, the pages of a file are not. It belongs to one goroutine. Its memory
// comes with the first page.
type Index[T any] struct {
	size int
	keys []page.ID
	vals []*T
	mask uint64
	n    int
}

// NewIndex returns an index for at most n pages.
func NewIndex[T any](n int) *Index[T] {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return &Index[T]{size: size, mask: uint64(size - 1)}
}

func home(id page.ID) uint64 {
	x := (uint64(id.No) ^ uint64(id.File)<<40) * 0x9e3779b97f4a7c15
	return x ^ x>>32
}

// Len is the number of pages in the index.
func (x *Index[T]) Len() int { return x.n }

// Get returns what is kept for id, or nil.
func (x *Index[T]) Get(id page.ID) *T {
	if x.n == 0 {
		return nil
	}
	for i := home(id) & x.mask; x.vals[i] != nil; i = (i + 1) & x.mask {
		if x.keys[i] == id {
			return x.vals[i]
		}
	}
	return nil
}

// Put keeps v (not nil) for id, in place of what was there.
func (x *Index[T]) Put(id page.ID, v *T) {
	if x.vals == nil {
		x.keys, x.vals = make([]page.ID, x.size), make([]*T, x.size)
	}
	i := home(id) & x.mask
	for ; x.vals[i] != nil; i = (i + 1) & x.mask {
		if x.keys[i] == id {
			x.vals[i] = v
			return
		}
	}
	if x.n++; x.n >= len(x.vals) {
		panic("stages: more pages in flight than the index was made for")
	}
	x.keys[i], x.vals[i] = id, v
}

// Delete forgets id.
func (x *Index[T]) Delete(id page.ID) {
	if x.n == 0 {
		return
	}
	i := home(id) & x.mask
	for ; ; i = (i + 1) & x.mask {
		if x.vals[i] == nil {
			return
		}
		if x.keys[i] == id {
			break
		}
	}
	x.n--
	// Close the gap: move back whatever could not be at its home because of it.
	for j := i; ; {
		j = (j + 1) & x.mask
		if x.vals[j] == nil {
			break
		}
		if h := home(x.keys[j]) & x.mask; (j-h)&x.mask >= (j-i)&x.mask {
			x.keys[i], x.vals[i] = x.keys[j], x.vals[j]
			i = j
		}
	}
	x.vals[i] = nil
}

// Each calls f for everything in the index; f must not change it.
func (x *Index[T]) Each(f func(*T)) {
	for _, v := range x.vals {
		if v != nil {
			f(v)
		}
	}
}
