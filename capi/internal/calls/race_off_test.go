//go:build !race

package calls

// raceEnabled: the race detector has sync.Pool drop some of what it is given.
const raceEnabled = false
