// Package active is built into packages of which a test binary has all mutants at
// once: every changed place asks it whether its change is the one that is wanted.
package active

import (
	"os"
	"strconv"
	"syscall"
)

// The variables of the environment that a test binary is told by.
const (
	Chosen  = "MUTANT"         // the number of the mutant to be; none: the code as it was
	Reached = "MUTANT_REACHED" // a file with a byte for each number: set to 1 where a test comes by
)

// memory is what a mutant may map, in bytes: a loop without an end must not fill the
// machine before its time is over.
const memory = 8 << 30

var (
	chosen  int
	reached []byte
)

func init() {
	if s := os.Getenv(Chosen); s != "" {
		chosen, _ = strconv.Atoi(s)
		syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: memory, Max: memory})
	}
	if name := os.Getenv(Reached); name != "" {
		var err error
		if reached, err = mapped(name); err != nil {
			panic(err)
		}
	}
}

// mapped returns the bytes of a file, shared with other processes.
func mapped(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

// Is reports whether the mutant of a number is the one to be.
func Is(id int) bool {
	if reached != nil {
		reached[id] = 1
	}
	return id == chosen
}
