package aligned

import "sync"

// MaxZeros is the most that is shared.
const MaxZeros = 1 << 20

// Zeros returns n bytes of zeros at a multiple of align, a power of two: what a file is zeroed from.
// Everybody shares them, up to MaxZeros at a multiple of up to Chunk: where the system can, they are
// mapped for reading only, take no memory, and a write to them ends the process.
func Zeros(n, align int) []byte {
	if n > MaxZeros || align > Chunk {
		return Alloc(n, align)
	}
	return alignIn(zeros(), n, align)
}

var zeros = sync.OnceValue(func() []byte {
	if b, err := mapZeros(MaxZeros + Chunk); err == nil {
		return b
	}
	return make([]byte, MaxZeros+Chunk)
})
