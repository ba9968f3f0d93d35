package untorn

import (
	"encoding/json"
	"testing"

	"github.com/untorn/untorn/super"
)

// FuzzCatalogChange: records of the engine's own come from the disk as well. None panics, or makes a
// catalogue with two files of one id.
func FuzzCatalogChange(f *testing.F) {
	b, err := json.Marshal(catalogRecord{File: super.File{ID: 3, Name: "a", PageSize: 4096, Pages: 2}})
	if err != nil {
		f.Fatal(err)
	}
	for kind := range uint8(6) {
		f.Add(kind, b)
	}
	f.Add(uint8(1), []byte(`{"file":{}}`))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		c, err := ParseCatalogChange(kind, b)
		if err != nil {
			return
		}
		st := &super.State{Files: []super.File{{ID: 1, Name: "one"}, {ID: 3, Name: "three"}}}
		c.Apply(st)
		c.Apply(st)
		seen := map[any]bool{}
		for _, x := range st.Files {
			if seen[x.ID] {
				t.Fatalf("%+v: two files of id %d", c, x.ID)
			}
			seen[x.ID] = true
		}
	})
}
