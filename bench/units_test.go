package bench

import "testing"

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "16384": 16384, "16KiB": 16384, "16k": 16384, "64MiB": 64 << 20, "1GiB": 1 << 30, "2G": 2 << 30, " 4 KiB ": 4096, "8B": 8,
	} {
		if got, err := ParseBytes(s); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "KiB", "-1", "1.5GiB", "12XB", "9999999999999G", "1e9"} {
		if got, err := ParseBytes(s); err == nil {
			t.Errorf("ParseBytes(%q) = %d", s, got)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 3.14159: "3.14", 12.3: "12", 999: "999", 1234: "1.2k", 99949: "99.9k", 186000: "186k", 999900: "1.0M", 2.5e6: "2.5M"} {
		if got := Count(v); got != want {
			t.Errorf("Count(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{1.26: "1.3 us", 250: "250 us", 1500: "1.50 ms", 2.5e6: "2.50 s"} {
		if got := Micros(v); got != want {
			t.Errorf("Micros(%v) = %s, want %s", v, got, want)
		}
	}
	for n, want := range map[int64]string{1 << 30: "1GiB", 3 << 20: "3MiB", 16384: "16KiB", 100: "100B", 1536: "1.5KiB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("FormatBytes(%d) = %s, want %s", n, got, want)
		}
	}
}
