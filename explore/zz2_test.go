package explore

import (
	"bytes"
	"fmt"
	"github.com/untorn/untorn"
	"math/rand/v2"
	"testing"
)

func TestDet(t *testing.T) {
	m, _ := findMutant("")
	same := 0
	for seed := uint64(1); seed <= 30; seed++ {
		a, _ := recordRun(newProfile(seed, untorn.ModeDoublewrite, m))
		b, _ := recordRun(newProfile(seed, untorn.ModeDoublewrite, m))
		if fingerprint(a) == fingerprint(b) {
			same++
			continue
		}
		s := func(i int, l interface{ Len() int }) string { return "" }
		_ = s
		for i := 0; i < a.Len() && i < b.Len(); i++ {
			x, y := a.At(i), b.At(i)
			if x.Kind != y.Kind || x.File != y.File || x.Off != y.Off || x.Len != y.Len {
				fmt.Println("seed", seed, "of", a.Len())
				for k := max(0, i-3); k < i+3 && k < a.Len() && k < b.Len(); k++ {
					fmt.Println("  ", a.At(k), "   |   ", b.At(k))
				}
				break
			}
		}
	}
	fmt.Println("same", same)
	_ = rand.IntN
	_ = bytes.Equal
}
