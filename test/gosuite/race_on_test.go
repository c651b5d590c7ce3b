//go:build race

package gosuite

const raceEnabled = true
