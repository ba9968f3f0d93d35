package sim

// span is a range of bytes of a file, [off, end).
type span struct{ off, end int64 }

func (s span) overlaps(t span) bool { return s.off < t.end && t.off < s.end }

// subtract returns what of the spans lies outside cut. It never changes its argument, which forks
// share.
func subtract(spans []span, cut span) []span {
	hit := false
	for _, s := range spans {
		hit = hit || s.overlaps(cut)
	}
	if !hit {
		return spans
	}
	var rest []span
	for _, s := range spans {
		if !s.overlaps(cut) {
			rest = append(rest, s)
			continue
		}
		if s.off < cut.off {
			rest = append(rest, span{s.off, cut.off})
		}
		if cut.end < s.end {
			rest = append(rest, span{cut.end, s.end})
		}
	}
	return rest
}
