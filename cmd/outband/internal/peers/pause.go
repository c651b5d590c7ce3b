//go:build amd64 || arm64

package peers

// pause tells the CPU that this is a spinning loop (PAUSE, YIELD): its sibling
// thread gets the execution units, and the loop ends without a pipeline flush.
func pause()
