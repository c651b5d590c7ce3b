// Package bpf is Linux' classic BPF machine, with all of its extensions: it checks
// programs as bpf_check_classic does and runs them on a datagram or a frame
// (linux/filter.h, Documentation/networking/filter.rst).
//
// golang.org/x/net/bpf has an assembler and a machine too, but its machine lacks
// most extensions, negative offsets, and Linux' rules of what is accepted.
//
// The package does no I/O. What a program may ask beside the bytes comes from a
// [View] and its [Host].
package bpf
