package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// differences lists the fields in which two values differ, by their JSON names, but for some.
func differences(a, b any, but ...string) []string {
	x, y := fieldsOf(a), fieldsOf(b)
	for _, k := range but {
		delete(x, k)
		delete(y, k)
	}
	var d []string
	for _, k := range slices.Sorted(maps.Keys(x)) {
		if p, q := fmt.Sprint(x[k]), fmt.Sprint(y[k]); p != q {
			d = append(d, fmt.Sprintf("%s: %s against %s", k, p, q))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(y)) {
		if _, ok := x[k]; !ok {
			d = append(d, fmt.Sprintf("%s: none against %v", k, y[k]))
		}
	}
	return d
}

func fieldsOf(v any) map[string]any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	m := map[string]any{}
	_ = json.Unmarshal(b, &m)
	return m
}
