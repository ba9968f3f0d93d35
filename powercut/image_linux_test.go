package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestImage: whatever was done to the file, holes included, it is put back to what is durable.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	want := make([]byte, 8*chunkSize)
	copy(want[chunkSize+700:], bytes.Repeat([]byte{7}, 90000))
	if err := os.WriteFile(base, want, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := newImage(dir, base, "ext4", 1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		off := rng.Int64N(int64(len(want)) - 9000)
		b := bytes.Repeat([]byte{byte(rng.IntN(256))}, 1+rng.IntN(9000))
		if rng.IntN(2) == 0 {
			copy(want[off:], b)
			if _, err := m.WriteAt(b, off); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := m.raw().WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
		if err := m.restore(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(m.f.Name()); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v: not what is durable", err)
		}
	}
	// Somebody discarded what is durable.
	if err := m.f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := m.f.Truncate(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if err := m.restore(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(m.f.Name()); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v: a hole stays", err)
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
}
