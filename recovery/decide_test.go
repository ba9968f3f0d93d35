package recovery

import (
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// TestDecideTable: exactly one row of the table fits any combination of answers, and it says what
// I6 says, written here a second time as prose-shaped code.
func TestDecideTable(t *testing.T) {
	for bits := range 256 {
		q := facts{bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0, bits&32 != 0,
			bits&64 != 0, bits&128 != 0}
		fit := ""
		for k := range table {
			if table[k].fits(q) {
				fit += string(table[k].letter)
			}
		}
		want := ""
		switch {
		case !q.exists && q.image && !q.whole:
			want = "I"
		case !q.exists && q.image && !q.ahead:
			want = "J"
		case !q.exists && q.image:
			want = "K"
		case !q.exists && q.whole:
			want = "A"
		case !q.exists:
			want = "B"
		case q.equal && q.valid:
			want = "C"
		case q.equal:
			want = "D"
		case q.valid && !q.newer:
			want = "E"
		case q.valid:
			want = "F"
		case q.below:
			want = "G"
		default:
			want = "H"
		}
		if fit != want {
			t.Errorf("%+v: rows %q fit, want %q", q, fit, want)
		}
	}
}

// TestDecide walks all inputs of up to three copies against a plain restatement of I6.
func TestDecide(t *testing.T) {
	const destCRC = 7
	kinds := []Copy{ // what a copy may look like beside a destination of CRC 7, LSN 50
		{CRC: destCRC, Valid: true, LSN: 50, SameLSN: true},
		{CRC: destCRC, Valid: false, LSN: 50, SameLSN: true},
		{CRC: 1, Valid: true, LSN: 60, SameLSN: true},
		{CRC: 1, Valid: true, LSN: 40, SameLSN: true},
		{CRC: 1, Valid: true, LSN: 40, SameLSN: false},
		{CRC: 1, Valid: false, LSN: 60, SameLSN: true},
		{CRC: 1, Valid: true, LSN: 0, SameLSN: true},
	}
	images := []*Image{ // and what the log may hold
		nil,
		{LSN: 40, CRC: 1, SameLSN: true},
		{LSN: 40, CRC: 1, SameLSN: true, Always: true},
		{LSN: 50, CRC: destCRC, SameLSN: true},
		{LSN: 50, CRC: 1, SameLSN: true},
		{LSN: 50, CRC: 1, SameLSN: true, Always: true},
		{LSN: 60, CRC: 1, SameLSN: true},
		{LSN: 40, CRC: 1},
		{LSN: 0, CRC: 1, SameLSN: true, Always: true},
	}
	n := len(kinds) + 1
	cases := 0
	for a := range n {
		for b := range n {
			for c := range n {
				for w := uint64(0); w <= 3; w++ {
					for f := w; f <= 3; f++ {
						for _, whole := range []bool{false, true} {
							var copies []Copy
							for i, k := range []int{a, b, c} { // newest first: sequences 3, 2, 1
								if k < len(kinds) {
									x := kinds[k]
									x.Seq = reclaim.Seq{Epoch: 1, Num: uint64(3 - i)}
									copies = append(copies, x)
								}
							}
							d := Destination{CRC: destCRC, Whole: whole}
							if whole {
								d.LSN = 50
							}
							W, F := reclaim.Seq{Epoch: 1, Num: w}, reclaim.Seq{Epoch: 1, Num: f}
							for _, img := range images {
								got := Decide(copies, img, d, W, F)
								want, at := restated(copies, img, d, W, F)
								if got.Source != want || got.Copy != at {
									t.Fatalf("copies %+v image %+v dest %+v W %s F %s: %+v, want %s of copy %d", copies, img, d, W, F, got, want, at)
								}
								cases++
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

func restated(copies []Copy, img *Image, d Destination, w, f reclaim.Seq) (Source, int) {
	for i, c := range copies {
		if c.Seq.LE(w) {
			break
		}
		if c.CRC == d.CRC { // (a)
			if c.Valid {
				return FromSlot, i
			}
			return Rebuild, i
		}
		if c.Valid { // (b)
			if d.Whole && c.SameLSN && c.LSN > 0 && d.LSN > c.LSN {
				return FromDestination, i
			}
			return FromSlot, i
		}
		if c.Seq.LE(f) { // (c)
			return Lost, i
		}
	} // (d)
	if img != nil {
		switch {
		case !d.Whole, !img.SameLSN, d.LSN < img.LSN: // damaged, unknown or older
			return FromImage, -1
		case d.LSN > img.LSN:
			return Rewrite, -1
		case d.CRC == img.CRC, img.Always: // the image itself, or what came before it
			return FromImage, -1
		}
		return Rewrite, -1
	}
	if d.Whole {
		return FromDestination, -1
	}
	return Lost, -1
}

func TestMarkLost(t *testing.T) {
	b := make([]byte, page.MinSize)
	page.Native{}.Init(b, page.Seed{})
	if IsLost(b) {
		t.Error("an empty page is taken for a lost one")
	}
	MarkLost(b)
	if !IsLost(b) {
		t.Error("a lost page is not recognised")
	}
	if _, err := (page.Native{}).Check(b, page.Seed{}); err == nil {
		t.Error("a lost page passes the format's check")
	}
}
