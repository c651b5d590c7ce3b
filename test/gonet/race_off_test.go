//go:build !race

package gonet

// size is how many bytes a stream carries.
const size = 10 << 20
