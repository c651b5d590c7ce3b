// Package gosuite runs Go's own tests of UDP and IP connections, and those of golang.org/x/net/ipv4,
// over the stack and over package net beside it.
//
// They come from the Go distribution that compiles the test (GOROOT/src/net), and from the module.
// [Extract] takes the wanted ones with what they need out of their package, and makes another
// package of them in which the names of package net stand for one or the other. In a folder of
// testdata for each, prelude.go has what both have in common, ours.go and inband.go what
// differs. Nothing of theirs is kept.
package gosuite
