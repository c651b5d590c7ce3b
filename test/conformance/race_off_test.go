//go:build !race

package conformance

// raceEnabled says that the race detector is in this binary, which takes several
// times the memory.
const raceEnabled = false
