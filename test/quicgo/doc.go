// Package quicgo runs quic-go's own integration tests over connections of the stack.
//
// They come from the module. A copy of it opens all its connections on one host of ours, whose
// only link is its loopback: in the places where it calls package net it calls a package
// of the copy's. Nothing else is changed, and nothing is kept.
package quicgo

import _ "github.com/quic-go/quic-go" // for its source
