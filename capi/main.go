// Command capi is liboutband.so, the C library, when it is built by
//
//	go build -buildmode=c-shared -ldflags '-X runtime.godebugDefault=asyncpreemptoff=1,containermaxprocs=0' -o liboutband.so ./capi
//
// outband.h is its header, written by hand: each file here includes it, so that the
// compiler refuses a function that differs from what the header says. What the functions do
// is in internal/calls.
//
// The settings keep Go's scheduler from sending SIGURG, which stays the program's, and Go's
// runtime from keeping files of the process' cgroup open, at low numbers.
package main

/*
#cgo CFLAGS: -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter
#include "outband.h"
*/
import "C"

import (
	"unsafe"

	"github.com/outband/outband/capi/internal/calls"
)

func main() {}

// library is the process's.
var library calls.Library

// view returns n bytes that C has, none for NULL.
func view(p unsafe.Pointer, n uint64) []byte {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(p), n)
}
