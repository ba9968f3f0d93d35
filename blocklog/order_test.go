package blocklog

import "testing"

// TestCompare: a log in the disk's order is fit, and one that is not says where; a write that was
// overtaken and then written again is wrong all the same.
func TestCompare(t *testing.T) {
	type write struct {
		at int64 // in sectors
		c  string
	}
	for _, c := range []struct {
		name      string
		log, disk []write
		want      Disorder
		unfit     bool
	}{
		{"the same", []write{{0, "ab"}, {1, "cd"}, {0, "e"}}, []write{{0, "ab"}, {1, "cd"}, {0, "e"}},
			Disorder{Entry: -1, Sector: -1}, false},
		{"elsewhere first", []write{{0, "a"}, {4, "b"}}, []write{{4, "b"}, {0, "a"}},
			Disorder{Entry: -1, Sector: -1}, false},
		{"an older one behind a newer", []write{{6, "n"}, {0, "new"}, {0, "old"}}, []write{{6, "n"}, {0, "old"}, {0, "new"}},
			Disorder{OutOfOrder: 3, Stale: 3, Entry: 1, Sector: 0}, true},
		{"and overwritten later", []write{{0, "b"}, {0, "a"}, {0, "c"}}, []write{{0, "a"}, {0, "b"}, {0, "c"}},
			Disorder{OutOfOrder: 1, Entry: 0, Sector: 0}, true},
		{"contents that come again", []write{{0, "a"}, {0, "a"}, {0, "b"}}, []write{{0, "a"}, {0, "b"}, {0, "a"}},
			Disorder{OutOfOrder: 1, Stale: 1, Entry: 1, Sector: 0}, true},
		{"not in the log", []write{{0, "a"}}, []write{{0, "a"}, {0, "b"}, {9, "c"}},
			Disorder{Missing: 2, Entry: -1, Sector: -1}, true},
		{"not on the disk", []write{{0, "a"}, {0, "b"}, {9, "c"}}, []write{{0, "a"}},
			Disorder{Missing: 2, Entry: -1, Sector: -1}, true},
		{"changed while it was written", []write{{0, "a"}, {0, "x"}, {0, "b"}}, []write{{0, "a"}, {0, "y"}, {0, "b"}},
			Disorder{Changed: 1, Entry: -1, Sector: -1}, false},
		{"changed, and out of order", []write{{0, "x"}, {0, "b"}, {0, "a"}}, []write{{0, "y"}, {0, "a"}, {0, "b"}},
			Disorder{OutOfOrder: 1, Stale: 1, Entry: 1, Sector: 0}, true},
	} {
		data := func(s string) (b []byte) {
			for i := range s {
				b = append(b, block(s[i], 1)...)
			}
			return b
		}
		var rs []request
		for _, w := range c.log {
			rs = append(rs, request{off: w.at * 512, n: int64(len(w.c)) * 512, data: data(w.c)})
		}
		rs = append(rs, request{flags: Flush}, request{off: 0, n: 1 << 20, flags: Discard})
		var disk []Stroke
		for _, w := range c.disk {
			disk = Strokes(disk, w.at*512, data(w.c))
		}
		got, err := read(t, encode(512, rs)).Compare(disk)
		if err != nil || got != c.want || (got.Unfit() != "") != c.unfit {
			t.Errorf("%s: %+v, %q, %v", c.name, got, got.Unfit(), err)
		}
	}
}

// TestReorder: a list that was logged behind a flush that was submitted later goes before what is newer
// than it; what has FUA, a flush, and what stands right stay.
func TestReorder(t *testing.T) {
	// Letters are writes of a sector each: upper case has FUA; | is a
	// flush, ! a flush with data.
	for _, c := range []struct{ log, disk, want string }{
		{"ab|cd|", "abcd", "ab|cd|"},
		{"cd|ab|", "abcd", "abcd||"},      // swapped
		{"ba|", "ab", "ab|"},              // completed in another order than the disk took them
		{"ab|ed|c|", "abced", "ab|ced||"}, // an older write behind newer ones
		{"Ba|", "aB", "aB|"},              // FUA overtakes what no flush has taken
		{"aB|", "Ba", "aB|"},              // and is not moved
		{"a!b|", "ab!", "a!b|"},           // what came while a flush ran was not covered by it
		{"ef|cd|ab|g|", "abcdefg", "abcdef|||g|"},
	} {
		encoded := func(s string) (rs []request, disk []Stroke) {
			for _, r := range s {
				q := request{off: int64(r) * 512, n: 512, data: block(byte(r), 1)}
				switch {
				case r == '|':
					rs = append(rs, request{flags: Flush})
					continue
				case r == '!':
					q.flags = Flush | FUA
				case r < 'a':
					q.flags = FUA
				}
				rs, disk = append(rs, q), Strokes(disk, q.off, q.data)
			}
			return rs, disk
		}
		rs, _ := encoded(c.log)
		_, disk := encoded(c.disk)
		l := read(t, encode(512, rs))
		if _, err := l.Reorder(disk); err != nil {
			t.Fatal(err)
		}
		got := ""
		for i := range l.Entries {
			b, err := l.Data(i, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == 0 {
				b = []byte("|")
			}
			got += string(b[:1])
		}
		if got != c.want {
			t.Errorf("%s, disk %s: %s, want %s", c.log, c.disk, got, c.want)
		}
	}
}
