package hwprobe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// Fact is one datum: its value or why it is missing, and where it came from. The zero Fact is
// a datum nobody recorded, and counts as not readable: the rules never take a missing datum
// for a harmless one.
//
// In JSON a Fact is the bare value (16384), or an object {"value": 16384, "from": "..."}, or
// {"missing": "permission denied", "from": "..."}; null and absent are the zero Fact.
type Fact[T any] struct {
	value   T
	known   bool
	from    string
	missing string
}

// Known is a datum that was read from the named place.
func Known[T any](v T, from string) Fact[T] { return Fact[T]{value: v, known: true, from: from} }

// Missing is a datum that could not be read from the named place, and why.
func Missing[T any](why, from string) Fact[T] { return Fact[T]{missing: why, from: from} }

// Get returns the value and whether it is known.
func (f Fact[T]) Get() (T, bool) { return f.value, f.known }

// Or returns the value, or def where it is missing.
func (f Fact[T]) Or(def T) T {
	if f.known {
		return f.value
	}
	return def
}

// Known tells whether the datum was read.
func (f Fact[T]) Known() bool { return f.known }

// From names where the datum was, or would have been, read.
func (f Fact[T]) From() string { return f.from }

// Why says why the datum is missing; it is empty for a known one.
func (f Fact[T]) Why() string {
	switch {
	case f.known:
		return ""
	case f.missing != "":
		return f.missing
	}
	return "not recorded"
}

// IsZero tells encoding/json (omitzero) that nobody recorded this datum.
func (f Fact[T]) IsZero() bool { return !f.known && f.missing == "" && f.from == "" }

// String is the value for a person, or "?" where it is missing.
func (f Fact[T]) String() string {
	if !f.known {
		return "?"
	}
	return fmt.Sprint(f.value)
}

type factJSON[T any] struct {
	Value   *T     `json:"value,omitempty"`
	From    string `json:"from,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// MarshalJSON writes the object form, or the bare value where no origin is kept.
func (f Fact[T]) MarshalJSON() ([]byte, error) {
	if f.IsZero() {
		return []byte("null"), nil
	}
	if f.known && f.from == "" {
		return json.Marshal(f.value)
	}
	j := factJSON[T]{From: f.from, Missing: f.missing}
	if f.known {
		j.Value = &f.value
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads every form. An object that has both a value and a reason for its absence
// contradicts itself and is refused rather than guessed at.
func (f *Fact[T]) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	*f = Fact[T]{}
	if len(b) == 0 || bytes.Equal(b, []byte("null")) {
		return nil
	}
	if b[0] != '{' {
		if err := json.Unmarshal(b, &f.value); err != nil {
			return err
		}
		f.known = true
		return nil
	}
	var j factJSON[T]
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	f.from, f.missing = j.From, j.Missing
	if j.Value != nil {
		if j.Missing != "" {
			return errors.New("a datum has both a value and a reason why it is missing")
		}
		f.value, f.known = *j.Value, true
	}
	return nil
}

// reason is the short text of an error for Missing: the errno's words without the path, which
// From already names.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return err.Error()
}

// parseNum turns the text of a sysfs file into a number.
func parseNum(f Fact[string]) Fact[uint64] {
	s, ok := f.Get()
	if !ok {
		return Fact[uint64]{missing: f.missing, from: f.from}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return Missing[uint64](fmt.Sprintf("not a number: %.40q", s), f.from)
	}
	return Known(n, f.from)
}
