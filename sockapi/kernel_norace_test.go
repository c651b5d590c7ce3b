//go:build !race

package sockapi

const raceEnabled = false
