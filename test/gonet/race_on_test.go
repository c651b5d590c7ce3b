//go:build race

package gonet

// size is how many bytes a stream carries: a tenth, since the race detector takes ten times as
// long.
const size = 1 << 20
