// Package preload prepares programs in C to run over the stack by a preloaded library: it finds
// the library, says which programs it cannot reach, and hands settings on.
package preload
