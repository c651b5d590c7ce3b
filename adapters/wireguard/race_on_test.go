//go:build race

package wireguard

// raceEnabled says that the race detector drops what pools keep.
const raceEnabled = true
