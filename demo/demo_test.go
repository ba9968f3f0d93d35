package demo

import (
	"bytes"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	var b bytes.Buffer
	if err := Run(t.Context(), &b, t.TempDir()); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	at := 0
	for _, want := range []string{
		`"balance 250", acknowledged as protected`, "the page fails its checksum", "doublewrite batch", `it reads "balance 250"`,
		"page is damaged", "not repaired", `"balance 250", the second half "balance 100"`, "silently torn",
	} {
		i := strings.Index(b.String()[at:], want)
		if i < 0 {
			t.Fatalf("%q is not told, or not in its place:\n%s", want, &b)
		}
		at += i
	}
}
