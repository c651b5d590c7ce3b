//go:build race

package stack

// raceEnabled says that the race detector is in the program, which allocates.
const raceEnabled = true
