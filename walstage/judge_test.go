package walstage

import (
	"math"
	"testing"

	"github.com/untorn/untorn/page"
)

// TestJudge walks the lettered table of judge over every combination of what it can be told.
func TestJudge(t *testing.T) {
	at := finding{end: 8192, epoch: 5}
	claim := func(epoch uint64, lsn int) Claim { return Claim{epoch, page.LSN(lsn), "test"} }
	for _, c := range []struct {
		name   string
		f      finding
		claims []Claim
		want   verdict
		by     int // the LSN of the claim that convicts
	}{
		{"e: nothing known", at, nil, tornTail, 0},
		{"a: through the end", at, []Claim{claim(5, 8192)}, tornTail, 0},
		{"a: before the end, later epoch", at, []Claim{claim(9, 100)}, tornTail, 0},
		{"a: LSN 0 claims nothing", at, []Claim{claim(math.MaxUint64, 0)}, tornTail, 0},
		{"b: beyond the end, older epoch", at, []Claim{claim(4, 9000)}, tornTail, 0},
		{"c: one byte beyond", at, []Claim{claim(5, 8193)}, corrupt, 8193},
		{"c: later epoch", at, []Claim{claim(6, 8193)}, corrupt, 8193},
		{"c: the farthest is named", at, []Claim{claim(5, 9000), claim(6, 9500), claim(4, 9999)},
			corrupt, 9500},
		{"c wins over d", finding{8192, 5, true}, []Claim{claim(5, 9000)}, corrupt, 9000},
		{"d: a failed read", finding{8192, 5, true}, []Claim{claim(5, 8192)}, unreadable, 0},
		{"d: and an older claim", finding{8192, 5, true}, []Claim{claim(4, 9000)}, unreadable, 0},
	} {
		got, by := judge(c.f, c.claims)
		if got != c.want || by.LSN != page.LSN(c.by) {
			t.Errorf("%s: %v by %v, want %v by %d", c.name, got, by, c.want, c.by)
		}
	}
	// Over all small inputs: corrupt if and only if some claim is both beyond and not older.
	for mask := range 1 << 9 {
		var claims []Claim
		guilty := false
		for bit := range 9 {
			if mask&(1<<bit) != 0 {
				c := claim(uint64(4+bit/3), 8191+bit%3)
				claims = append(claims, c)
				guilty = guilty || c.Epoch >= 5 && c.LSN > 8192
			}
		}
		for _, failed := range []bool{false, true} {
			want := tornTail
			if guilty {
				want = corrupt
			} else if failed {
				want = unreadable
			}
			if got, _ := judge(finding{8192, 5, failed}, claims); got != want {
				t.Fatalf("%v, read failed %v: %v, want %v", claims, failed, got, want)
			}
		}
	}
}
