package untorn

import (
	"testing"
	"time"
)

func TestHoldLimits(t *testing.T) {
	const upTo, end = 1000, 2000
	for name, c := range map[string]struct {
		limits holdLimits
		k      keeper
		evict  bool
	}{
		"no limits":                   {holdLimits{}, keeper{"a", 1, time.Hour}, false},
		"few bytes":                   {holdLimits{bytes: 1500}, keeper{"a", 500, 0}, false},
		"many bytes":                  {holdLimits{bytes: 1499}, keeper{"a", 500, 0}, true},
		"many bytes, not in the way":  {holdLimits{bytes: 10}, keeper{"a", 1000, 0}, false},
		"beyond the end":              {holdLimits{bytes: 10}, keeper{"a", 3000, 0}, false},
		"in the way for a short time": {holdLimits{age: time.Minute}, keeper{"a", 1, time.Minute}, false},
		"in the way for long":         {holdLimits{age: time.Minute}, keeper{"a", 1, time.Minute + 1}, true},
		"old, but not in the way":     {holdLimits{age: time.Minute}, keeper{"a", 1000, time.Hour}, false},
	} {
		if why := c.limits.evict(c.k, upTo, end); (why != "") != c.evict {
			t.Errorf("%s: %q, want eviction %v", name, why, c.evict)
		}
	}
}
