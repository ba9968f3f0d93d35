//go:build race

package explore

// raced is whether the race detector is on: everything takes ten times as long.
const raced = true
