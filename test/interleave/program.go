package interleave

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A Program is what a host is to go through, step by step.
type Program []Step

// A Step is one call, frame or change. It is plain numbers: kinds choose from short
// lists by them, so that any program can be run, and any part of one.
type Step struct {
	Kind    int // of kinds
	Sock    int // of sockets
	A, B, C byte
}

// stepLen is how many bytes make a step.
const stepLen = 5

// maxSteps bounds a program from bytes.
const maxSteps = 40

// Decode makes a program of bytes: any will do.
func Decode(b []byte) (p Program) {
	for ; len(b) >= stepLen && len(p) < maxSteps; b = b[stepLen:] {
		p = append(p, Step{kindOf[b[0]], int(b[1]) % len(sockets), b[2], b[3], b[4]})
	}
	return p
}

// Encode returns bytes that Decode makes the program of.
func (p Program) Encode() (b []byte) {
	for _, s := range p {
		b = append(b, byte(slices.Index(kindOf[:], s.Kind)), byte(s.Sock), s.A, s.B, s.C)
	}
	return b
}

// Random makes a program of n steps by chance. Changes that take the kernel long come
// seldom.
func Random(r *rand.Rand, n int) Program {
	p := make(Program, n)
	for i := range p {
		s := Step{kindOf[r.IntN(len(kindOf))], r.IntN(len(sockets)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
		for kinds[s.Kind].slow && r.IntN(16) != 0 {
			s.Kind = kindOf[r.IntN(len(kindOf))]
		}
		p[i] = s
	}
	return p
}

// String writes a program as Parse reads it: a line a step.
func (p Program) String() string {
	var b strings.Builder
	for _, s := range p {
		fmt.Fprintf(&b, "%s %s %d %d %d\n", sockets[s.Sock].name, kinds[s.Kind].name, s.A, s.B, s.C)
	}
	return b.String()
}

// Parse reads a program. Lines that are empty or begin with # are nothing.
func Parse(text string) (p Program, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var s Step
		var sock, kind string
		if _, err := fmt.Sscan(line, &sock, &kind, &s.A, &s.B, &s.C); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		s.Sock = slices.IndexFunc(sockets, func(k socketKind) bool { return k.name == sock })
		s.Kind = slices.IndexFunc(kinds, func(k stepKind) bool { return k.name == kind })
		if s.Sock < 0 || s.Kind < 0 {
			return nil, fmt.Errorf("%q: no such socket or step", line)
		}
		p = append(p, s)
	}
	return p, nil
}

// Shorten takes steps out of a program that differs, and makes numbers of the others 0,
// as long as it still does.
func (p Program) Shorten(differs func(Program) bool) Program {
	for size := len(p) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(p); {
			if shorter := slices.Delete(slices.Clone(p), at, at+size); differs(shorter) {
				p = shorter
			} else {
				at += size
			}
		}
	}
	for i := range p {
		for _, field := range []func(*Step) *byte{func(s *Step) *byte { return &s.A },
			func(s *Step) *byte { return &s.B }, func(s *Step) *byte { return &s.C }} {
			simpler := slices.Clone(p)
			if *field(&simpler[i]) == 0 {
				continue
			}
			*field(&simpler[i]) = 0
			if differs(simpler) {
				p = simpler
			}
		}
	}
	return p
}
