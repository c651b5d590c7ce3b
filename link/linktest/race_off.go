//go:build !race

package linktest

// raceEnabled says that the race detector, which allocates, is built in.
const raceEnabled = false
