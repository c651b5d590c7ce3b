//go:build race

package sockapi

// raceEnabled: the race detector has sync.Pool drop some of what it is given.
const raceEnabled = true
