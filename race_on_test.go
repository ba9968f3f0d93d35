//go:build race

package untorn_test

// raced is whether the race detector is on: everything takes ten times as long.
const raced = true
