//go:build race

package gonet

const raceEnabled = true
