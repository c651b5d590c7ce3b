// Package snapshot is what a socket is, as bytes, to be made again in another process.
package snapshot

import (
	"encoding/binary"

	"github.com/outband/outband/sockapi/internal/option"
)

// A Snapshot is what is told of a socket.
type Snapshot struct {
	Kind        option.Kind
	Nonblock    bool
	Settings    []option.Setting
	Bound, Peer []byte // struct sockaddr; empty: none
}

// version is the first byte, which changes with what follows.
const version = 1

// Append appends the snapshot to b.
func (s *Snapshot) Append(b []byte) []byte {
	b = append(b, version)
	nonblock := 0
	if s.Nonblock {
		nonblock = 1
	}
	for _, n := range []int{s.Kind.Domain, s.Kind.Typ, s.Kind.Proto, nonblock, len(s.Settings)} {
		b = binary.AppendVarint(b, int64(n))
	}
	for _, o := range s.Settings {
		b = appendBytes(binary.AppendVarint(binary.AppendVarint(b, int64(o.Level)), int64(o.Name)), o.Value)
	}
	return appendBytes(appendBytes(b, s.Bound), s.Peer)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendVarint(b, int64(len(data))), data...)
}

// Parse returns what Append has made of a snapshot, which refers to b; false: it is none.
func Parse(b []byte) (s Snapshot, ok bool) {
	if len(b) == 0 || b[0] != version {
		return s, false
	}
	r := reader{b[1:], false}
	s.Kind = option.Kind{Domain: r.number(), Typ: r.number(), Proto: r.number()}
	s.Nonblock = r.number() != 0
	for n := r.number(); n > 0 && !r.bad; n-- {
		s.Settings = append(s.Settings, option.Setting{Level: r.number(), Name: r.number(), Value: r.bytes()})
	}
	s.Bound, s.Peer = r.bytes(), r.bytes()
	return s, !r.bad && len(r.b) == 0
}

// A reader takes values from the front.
type reader struct {
	b   []byte
	bad bool // something was not there
}

func (r *reader) number() int {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n < 0 || n > len(r.b) {
		r.b, r.bad = nil, true
	}
	if r.bad || n == 0 {
		return nil
	}
	data := r.b[:n:n]
	r.b = r.b[n:]
	return data
}
