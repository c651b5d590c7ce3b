//go:build !race

package gonet

const raceEnabled = false
