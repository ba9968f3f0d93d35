package recovery

import (
	"testing"

	"github.com/untorn/untorn/page"
	"github.com/untorn/untorn/reclaim"
)

// TestCompare: what each source alone would choose, how that is called, and what is repaired from.
func TestCompare(t *testing.T) {
	seq := func(n uint64) reclaim.Seq { return reclaim.Seq{Epoch: 1, Num: n} }
	slot := func(lsn page.LSN, crc uint32, valid bool) []Copy {
		return []Copy{{Seq: seq(2), LSN: lsn, CRC: crc, Valid: valid, SameLSN: true}}
	}
	img := func(lsn page.LSN, crc uint32) *Image { return &Image{LSN: lsn, CRC: crc, Always: true, SameLSN: true} }
	torn := Destination{CRC: 99}
	whole := func(lsn page.LSN, crc uint32) Destination { return Destination{CRC: crc, Whole: true, LSN: lsn} }
	for name, c := range map[string]struct {
		copies       []Copy
		img          *Image
		history      []imageKey
		dest         Destination
		class        Class
		byDWB, byLog byte // case of the decision carried out, by what is repaired from
	}{
		"both hold the newest":        {slot(50, 5, true), img(50, 5), nil, torn, Equal, 'E', 'I'},
		"the copy was never written":  {nil, img(60, 6), nil, whole(50, 5), LogAhead, 'A', 'J'},
		"the copy is older":           {slot(50, 5, true), img(60, 6), nil, torn, LogAhead, 'E', 'I'},
		"no image of the copy":        {slot(60, 6, true), img(50, 5), nil, torn, DWBAhead, 'E', 'I'},
		"the destination is ahead":    {nil, img(50, 5), nil, whole(60, 6), Equal, 'A', 'K'},
		"no image at all":             {slot(50, 5, true), nil, nil, torn, DWBAhead, 'E', 'E'},
		"no image, flushed":           {slot(50, 5, true), nil, nil, whole(50, 5), Equal, 'C', 'A'},
		"the copy is rotten":          {slot(50, 5, false), img(50, 5), nil, torn, LogAhead, 'I', 'I'},
		"LSN 0, an older image":       {slot(0, 5, true), img(0, 6), []imageKey{{0, 5}, {0, 6}}, torn, LogAhead, 'E', 'I'},
		"LSN 0, nobody knows":         {slot(0, 5, true), img(0, 6), []imageKey{{0, 6}}, torn, Unordered, 'E', 'I'},
		"nothing is left":             {nil, nil, nil, torn, Equal, 'B', 'B'},
		"foreign LSNs are no order":   {slot(60, 5, true), &Image{LSN: 50, CRC: 6, Always: true}, nil, torn, Unordered, 'E', 'I'},
		"foreign, the destination is": {nil, &Image{LSN: 50, CRC: 6, Always: true}, []imageKey{{40, 5}, {50, 6}}, whole(40, 5), LogAhead, 'A', 'J'},
	} {
		dwb, log, class := compare(c.copies, c.img, c.history, c.dest, seq(1), seq(2))
		if class != c.class {
			t.Errorf("%s: %s, want %s (%+v, %+v)", name, class, c.class, dwb, log)
		}
		if got := repair(dwb, log, false).Case; got != c.byDWB {
			t.Errorf("%s: repaired from the doublewrite buffer by case %c, want %c", name, got, c.byDWB)
		}
		if got := repair(dwb, log, true).Case; got != c.byLog {
			t.Errorf("%s: repaired from the log by case %c, want %c", name, got, c.byLog)
		}
	}
}
