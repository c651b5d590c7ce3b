// Package gonet runs programs of others, unmodified, over connections of package gonet.
//
// It is a module of its own, so that nobody who uses the stack gets their dependencies.
package gonet
