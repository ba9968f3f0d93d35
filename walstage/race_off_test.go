//go:build !race

package walstage

const raceEnabled = false
