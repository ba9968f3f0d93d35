package pageimage

// minHole is the shortest run of zeros worth leaving out.
const minHole = 64

// hole finds the longest run of zero words of b, at offset at. 0, 0 = none worth it.
func hole(b []byte) (at, n int) {
	start := -1
	for i := 0; i+8 <= len(b); i += 8 {
		zero := le.Uint64(b[i:]) == 0
		if zero && start < 0 {
			// A run that could be the longest spans the word n further on: look there first.
			if j := i + n; j+8 > len(b) || le.Uint64(b[j:]) != 0 {
				continue
			}
			start = i
		}
		if !zero && start >= 0 {
			if i-start > n {
				at, n = start, i-start
			}
			start = -1
		}
	}
	if end := len(b) &^ 7; start >= 0 && end-start > n {
		at, n = start, end-start
	}
	if n < minHole {
		return 0, 0
	}
	return at, n
}
