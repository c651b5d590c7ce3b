package queue

import "golang.org/x/sys/unix"

// Target is where a receive call wants its datagrams: in one buffer, or in
// messages.
type Target struct {
	One   []byte
	Msgs  []Message // if not nil, one is not used
	Count int       // datagrams stored
	N     int       // bytes stored in one
	Info  Info      // of the datagram in one
}

// Full reports whether no more datagrams fit.
func (t *Target) Full() bool {
	if t.Msgs != nil {
		return t.Count == len(t.Msgs)
	}
	return t.Count > 0
}

// Store copies one datagram to its place.
func (t *Target) Store(data []byte, in *Info) {
	if t.Msgs == nil {
		t.N = copy(t.One, data)
		t.Info = *in
		t.Count = 1
		return
	}
	m := &t.Msgs[t.Count]
	m.N, m.Flags, m.Info = 0, 0, *in
	for _, b := range m.Buffers {
		n := copy(b, data[m.N:])
		m.N += n
	}
	if m.N < len(data) {
		m.Flags = unix.MSG_TRUNC
	}
	t.Count++
}

// Returned is how many bytes a call says that it has received: with MSG_TRUNC the
// datagrams' own length.
func (t *Target) Returned(flags int) (n int) {
	whole := flags&unix.MSG_TRUNC != 0
	if t.Msgs == nil {
		if whole {
			return t.Info.Len
		}
		return t.N
	}
	for i := range t.Msgs[:t.Count] {
		m := &t.Msgs[i]
		if whole {
			n += m.Info.Len
		} else {
			n += m.N
		}
	}
	return n
}

// storeFrom is store for a part of a datagram.
func (t *Target) storeFrom(data []byte, off int, in *Info) {
	t.Store(data[off:], in)
	if t.Msgs == nil {
		return
	}
	m := &t.Msgs[t.Count-1]
	room := 0
	for _, b := range m.Buffers {
		room += len(b)
	}
	// As Linux has it: who asks for no more than the rest is told of all of it.
	if m.Flags = 0; room <= len(data)-off && room < len(data) {
		m.Flags = unix.MSG_TRUNC
	}
}
