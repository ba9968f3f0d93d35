//go:build race

package walstage

const raceEnabled = true
