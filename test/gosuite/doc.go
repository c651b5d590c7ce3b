// Package gosuite runs Go's own tests of UDP and IP connections over the stack, and over package net beside it.
//
// They come from the Go distribution that compiles the test (GOROOT/src/net). Since they are part of
// package net, [Extract] takes the wanted ones with what they need out of it, and makes a
// package of them in which the names of package net stand for one or the other:
// testdata/prelude.go has what both have in common, testdata/ours.go and
// testdata/inband.go what differs. Nothing of the distribution is kept.
package gosuite
