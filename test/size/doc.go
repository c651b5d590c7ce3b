// Package size holds how much a program grows that links the library: a UDP echo server with package net,
// with an address of its own, and on the host's addresses.
package size
