package main

import (
	"testing"

	"github.com/outband/outband/test/lab"
)

// A program in C spins, sleeps by the kernel's calls and polls, over two namespaces, and says
// itself what is not as it should be.
func TestWait(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	program := compile(t, "testdata/wait.c")
	echo(t, l.Far(), 7)
	lab.Output(t, l.Near().Namespace, program, "near0", l.Far().Addr.String())
}

// The library's descriptors lie where the program wants them, and nothing is left below.
func TestFloor(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	program := compile(t, "testdata/floor.c")
	echo(t, l.Far(), 7)
	lab.Output(t, l.Near().Namespace, program, "near0", l.Far().Addr.String())
}
