package aligned

import "github.com/ncw/directio"

// Alloc returns n zeroed bytes of the Go heap at a multiple of align, a power of two: for the odd
// header or super block. The collector frees it; what is used often belongs in a Pool.
func Alloc(n, align int) []byte {
	if n > 0 && directio.AlignSize > 0 && align <= directio.AlignSize &&
		directio.AlignSize%align == 0 {
		return directio.AlignedBlock(n)[:n:n]
	}
	return alignIn(make([]byte, n+align), n, align)
}
