package stack

import "golang.org/x/sys/unix"

// target is where a receive call wants its datagrams: in one buffer, or in
// messages.
type target struct {
	one   []byte
	msgs  []Message // if not nil, one is not used
	count int       // datagrams stored
	n     int       // bytes stored in one
	info  Info      // of the datagram in one
}

// full reports whether no more datagrams fit.
func (t *target) full() bool {
	if t.msgs != nil {
		return t.count == len(t.msgs)
	}
	return t.count > 0
}

// store copies one datagram to its place.
func (t *target) store(data []byte, in *Info) {
	if t.msgs == nil {
		t.n = copy(t.one, data)
		t.info = *in
		t.count = 1
		return
	}
	m := &t.msgs[t.count]
	m.N, m.Flags, m.Info = 0, 0, *in
	for _, b := range m.Buffers {
		n := copy(b, data[m.N:])
		m.N += n
	}
	if m.N < len(data) {
		m.Flags = unix.MSG_TRUNC
	}
	t.count++
}

// returned is how many bytes a call says that it has received: with MSG_TRUNC the
// datagrams' own length.
func (t *target) returned(flags int) (n int) {
	whole := flags&unix.MSG_TRUNC != 0
	if t.msgs == nil {
		if whole {
			return t.info.Len
		}
		return t.n
	}
	for i := range t.msgs[:t.count] {
		m := &t.msgs[i]
		if whole {
			n += m.Info.Len
		} else {
			n += m.N
		}
	}
	return n
}

// storeFrom is store for a part of a datagram.
func (t *target) storeFrom(data []byte, off int, in *Info) {
	t.store(data[off:], in)
	if t.msgs == nil {
		return
	}
	m := &t.msgs[t.count-1]
	room := 0
	for _, b := range m.Buffers {
		room += len(b)
	}
	// As Linux has it: who asks for no more than the rest is told of all of it.
	if m.Flags = 0; room <= len(data)-off && room < len(data) {
		m.Flags = unix.MSG_TRUNC
	}
}
