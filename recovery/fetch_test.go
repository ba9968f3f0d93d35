package recovery

import (
	"strings"
	"testing"

	"github.com/untorn/untorn/page"
)

// TestJudgeOffer: which images from elsewhere may stand in for a lost one. Each row that is taken is
// refused again when any one thing about it is not so.
func TestJudgeOffer(t *testing.T) {
	want := Copy{LSN: 50, CRC: 5, SameLSN: true}
	for name, c := range map[string]struct {
		want             Copy
		o                offer
		detects, ordered bool
		same             bool
		refused          string // "" = taken
	}{
		"the very image":             {want, offer{crc: 5, lsn: 50, held: true}, true, true, true, ""},
		"the log is irrelevant then": {want, offer{crc: 5, lsn: 50}, true, true, true, ""},
		"the very image, foreign":    {want, offer{crc: 5, lsn: 50}, true, false, true, ""},
		"the very image, unchecked":  {want, offer{crc: 5}, false, false, true, ""},
		"the very image, LSN 0":      {Copy{CRC: 5}, offer{crc: 5}, true, true, true, ""},
		"a newer one":                {want, offer{crc: 6, lsn: 60, held: true}, true, true, false, ""},

		"does not check":             {want, offer{crc: 5, err: page.ErrDamaged}, true, true, false, "damaged"},
		"newer, does not check":      {want, offer{crc: 6, lsn: 60, held: true, err: page.ErrDamaged}, true, true, false, "damaged"},
		"cannot be checked":          {want, offer{crc: 5, err: page.ErrUnchecked}, false, false, false, "cannot be checked"},
		"older":                      {want, offer{crc: 4, lsn: 40, held: true}, true, true, false, "older"},
		"no LSN":                     {want, offer{crc: 4, held: true}, true, true, false, "older"},
		"the CRC, another LSN":       {want, offer{crc: 5, lsn: 40, held: true}, true, true, false, "older"},
		"the LSN, another image":     {want, offer{crc: 6, lsn: 50, held: true}, true, true, false, "CRC 00000006 at LSN 50"},
		"beyond the log":             {want, offer{crc: 6, lsn: 60}, true, true, false, "not in the log"},
		"newer, of a foreign space":  {want, offer{crc: 6, lsn: 60, held: true}, true, false, false, "no LSNs to compare"},
		"newer, unchecked":           {want, offer{crc: 6, lsn: 60, held: true}, false, false, false, "no LSNs to compare"},
		"newer than no record":       {Copy{CRC: 5, SameLSN: true}, offer{crc: 6, lsn: 60, held: true}, true, true, false, "no LSNs to compare"},
		"another one without an LSN": {Copy{CRC: 5}, offer{crc: 6, held: true}, true, true, false, "no LSNs to compare"},
	} {
		same, err := c.o.judge(c.want, c.detects, c.ordered)
		if same != c.same || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: the very image %t: %v", name, same, err)
		}
	}
}
