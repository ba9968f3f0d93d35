package super

import (
	"bytes"
	"context"
	"testing"

	"github.com/untorn/untorn/aligned"
	"github.com/untorn/untorn/fsys"
	"github.com/untorn/untorn/sim"
)

// TestAShorterStateLeavesNothingBehind: Write leaves out zeros that a zone is known to have, and no
// others: what a longer state left, or what was read and not proven, must not stay behind a copy.
func TestAShorterStateLeavesNothingBehind(t *testing.T) {
	d := sim.New(sim.Config{})
	junk := bytes.Repeat([]byte{0xee}, FileBytes)
	if err := d.WriteFile("super", junk); err != nil {
		t.Fatal(err)
	}
	f, err := d.FS().Open("super", fsys.OpenFlags{})
	if err != nil {
		t.Fatal(err)
	}
	r := d.Ring()
	defer r.Close()
	open := func() *Store { return NewStore(r, f, aligned.Alloc, 4096, 0) }
	s := open()
	for i, n := range []int{100, 9000, 10, 16000, 4100, 0} {
		st := sample()
		st.Payload = make([]byte, n)
		if i%3 == 2 { // as the next process would
			s = open()
			if _, _, err := s.Read(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := s.Rewrite(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Write(st); err != nil {
			t.Fatal(err)
		}
		b, err := d.ReadFile("super")
		if err != nil {
			t.Fatal(err)
		}
		for k := range Copies {
			got, _, err := decode(b[k*Zone : (k+1)*Zone])
			if err != nil || len(got.Payload) != n {
				t.Errorf("copy %d after a state with a payload of %d bytes: %v", k, n, err)
			}
		}
	}
}
