package bench

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// setting is one thing to sweep over, of a configuration of pages or of the log.
type setting[C any] struct {
	name  string
	field string // of the JSON
	unit  string
	set   func(c *C, v int)
}

func settingNamed[C any](all []setting[C], name string) (setting[C], bool) {
	if i := slices.IndexFunc(all, func(s setting[C]) bool { return s.name == name }); i >= 0 {
		return all[i], true
	}
	return setting[C]{}, false
}

func settingNames[C any](all []setting[C]) (out []string) {
	for _, s := range all {
		out = append(out, s.name)
	}
	return out
}

// swept is a run of pages or of the log.
type swept interface {
	*Result | *WALResult
	curve() string // what tells the curves of a sweep from each other
	drawn() sweepPoint
}

// PointOf is one run of a sweep.
type PointOf[R swept] struct {
	Value int `json:"value"` // 0 where only commit policies are compared
	Run   R   `json:"run"`
}

// lineOf is the points of one mode, or of one commit policy.
type lineOf[R swept] struct {
	name   string
	points []PointOf[R]
}

// linesOf are in the order they first come in.
func linesOf[R swept](points []PointOf[R]) (out []lineOf[R]) {
	for _, p := range points {
		name := p.Run.curve()
		i := slices.IndexFunc(out, func(l lineOf[R]) bool { return l.name == name })
		if i < 0 {
			i, out = len(out), append(out, lineOf[R]{name: name})
		}
		out[i].points = append(out[i].points, p)
	}
	return out
}

// best is the point that does most, enough the first that does 95 % of it.
func (l *lineOf[R]) best() (best, enough PointOf[R]) {
	rate := func(p PointOf[R]) float64 { return p.Run.drawn().rate }
	best = slices.MaxFunc(l.points, func(a, b PointOf[R]) int { return cmp.Compare(rate(a), rate(b)) })
	i := slices.IndexFunc(l.points, func(p PointOf[R]) bool { return rate(p) >= 0.95*rate(best) })
	return best, l.points[i]
}

// values of the setting.
func (l *lineOf[R]) values() string {
	var out []string
	for _, p := range l.points {
		out = append(out, strconv.Itoa(p.Value))
	}
	return strings.Join(out, ", ")
}

func runsOf[R swept](points []PointOf[R]) (out []R) {
	for _, p := range points {
		out = append(out, p.Run)
	}
	return out
}

// rowsOf is the table of a sweep: which point it is, its rate, and what cells makes of its run.
func rowsOf[R swept](points []PointOf[R], over, name, per string, head []string, cells func(R) []string) [][]string {
	lines := linesOf(points)
	which := func(name, value string) []string {
		switch {
		case over == "commit": // only the policies are compared
			return []string{name}
		case len(lines) == 1:
			return []string{value}
		}
		return []string{name, value}
	}
	rows := [][]string{slices.Concat(which(name, over), []string{per, "min", "max", "bound", "efficiency"}, head)}
	for _, l := range lines {
		for _, p := range l.points {
			x := p.Run.drawn()
			rate := []string{Count(x.rate), Count(x.spread.Min), Count(x.spread.Max), dash(x.bound), reached(x.bound, x.efficiency)}
			rows = append(rows, slices.Concat(which(l.name, strconv.Itoa(p.Value)), rate, cells(p.Run)))
		}
	}
	return rows
}
