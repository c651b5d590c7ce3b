package follow

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeKernel is the other end of a socket.
type fakeKernel struct {
	t  *testing.T
	fd int
}

// newFakeKernel returns a socket of which the other end is the test.
func newFakeKernel(t *testing.T) (*socket, *fakeKernel) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	s, k := &socket{fd: fds[0], buf: make([]byte, 256)}, &fakeKernel{t, fds[1]}
	t.Cleanup(func() { unix.Close(k.fd); s.close() })
	return s, k
}

// says sends messages in one datagram.
func (k *fakeKernel) says(messages ...[]byte) {
	k.t.Helper()
	var b []byte
	for _, m := range messages {
		b = append(b, m...)
	}
	must(k.t, unix.Send(k.fd, b, 0))
}

// say makes a message.
func say(kind, flags uint16, seq uint32, data ...byte) []byte {
	b := make([]byte, aligned(unix.NLMSG_HDRLEN+len(data)))
	native.PutUint32(b, uint32(unix.NLMSG_HDRLEN+len(data)))
	native.PutUint16(b[4:], kind)
	native.PutUint16(b[6:], flags)
	native.PutUint32(b[8:], seq)
	copy(b[unix.NLMSG_HDRLEN:], data)
	return b
}

func sayErrno(kind uint16, seq uint32, e unix.Errno) []byte {
	return say(kind, 0, seq, native.AppendUint32(nil, uint32(-int32(e)))...)
}

func TestAsk(t *testing.T) {
	for _, c := range []struct {
		name  string
		says  func(k *fakeKernel)
		errno unix.Errno
	}{
		{"answer", func(k *fakeKernel) { k.says(say(unix.RTM_NEWROUTE, 0, 1)) }, 0},
		{"error", func(k *fakeKernel) { k.says(sayErrno(unix.NLMSG_ERROR, 1, unix.EHOSTUNREACH)) }, unix.EHOSTUNREACH},
		{"answer to what was given up", func(k *fakeKernel) {
			k.says(sayErrno(unix.NLMSG_ERROR, 0, unix.EPERM))
			k.says(say(unix.RTM_NEWROUTE, 0, 1))
		}, 0},
		{"no answer", func(k *fakeKernel) {}, unix.ENOBUFS},
		{"too long", func(k *fakeKernel) { k.says(say(unix.RTM_NEWROUTE, 0, 1, make([]byte, 400)...)) }, unix.EMSGSIZE},
		{"no message", func(k *fakeKernel) { k.says([]byte{1, 2, 3}) }, unix.ENOBUFS},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, k := newFakeKernel(t)
			w, _ := s.begin(unix.RTM_GETROUTE, 0, unix.SizeofRtMsg)
			c.says(k)
			if m, errno := s.ask(w.end()); errno != c.errno || errno == 0 && m.kind != unix.RTM_NEWROUTE {
				t.Errorf("%+v %v, want %v", m, errno, c.errno)
			}
		})
	}
}

func TestDump(t *testing.T) {
	const intr = unix.NLM_F_DUMP_INTR
	done := func(seq uint32) []byte { return sayErrno(unix.NLMSG_DONE, seq, 0) }
	part := func(flags uint16, seq uint32) []byte { return say(unix.RTM_NEWNEIGH, flags, seq) }
	for _, c := range []struct {
		name  string
		says  [][][]byte // datagrams of messages
		parts int
		errno unix.Errno
	}{
		{"one datagram", [][][]byte{{part(0, 1), part(0, 1), done(1)}}, 2, 0},
		{"three", [][][]byte{{part(0, 1), part(0, 1)}, {part(0, 1)}, {done(1)}}, 3, 0},
		{"nothing", [][][]byte{{done(1)}}, 0, 0},
		{"interrupted", [][][]byte{{part(intr, 1)}, {part(0, 1)}, {done(1)}}, 2, unix.EINTR},
		{"interrupted at the end", [][][]byte{{part(0, 1)}, {say(unix.NLMSG_DONE, intr, 1, 0, 0, 0, 0)}}, 1, unix.EINTR},
		{"error", [][][]byte{{sayErrno(unix.NLMSG_ERROR, 1, unix.EPERM)}}, 0, unix.EPERM},
		{"error at the end", [][][]byte{{part(0, 1)}, {sayErrno(unix.NLMSG_DONE, 1, unix.ENOMEM)}}, 1, unix.ENOMEM},
		{"rest of another", [][][]byte{{part(intr, 0), done(0)}, {part(0, 1), done(1)}}, 1, 0},
		{"cut off", [][][]byte{{part(0, 1)}}, 1, unix.ENOBUFS},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, k := newFakeKernel(t)
			for _, datagram := range c.says {
				k.says(datagram...)
			}
			w, _ := s.begin(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, unix.SizeofNdMsg)
			parts := 0
			if errno := s.dump(w.end(), func(message) { parts++ }); errno != c.errno || parts != c.parts {
				t.Errorf("%d parts, %v, want %d, %v", parts, errno, c.parts, c.errno)
			}
		})
	}
}

// TestInterruptedDumpIsDoneAgain has one kind of device, and then another.
func TestInterruptedDumpIsDoneAgain(t *testing.T) {
	link := func(flags uint16, seq uint32, index byte) []byte {
		return say(unix.RTM_NEWLINK, flags, seq, 0, 0, 1, 0, index, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	done := func(seq uint32) []byte { return sayErrno(unix.NLMSG_DONE, seq, 0) }
	s, k := newFakeKernel(t)
	k.says(link(unix.NLM_F_DUMP_INTR, 1, 5), done(1))
	k.says(link(0, 2, 6), done(2))
	k.says(done(3)) // of the addresses
	got, errno := s.snapshot()
	if errno != 0 || len(got.Devices) != 1 || got.Devices[0].Index != 6 {
		t.Errorf("%+v %v", got, errno)
	}
	// Not for ever: in the end what there is has to do.
	s, k = newFakeKernel(t)
	for i := range uint32(dumpTries) {
		k.says(link(unix.NLM_F_DUMP_INTR, 1+i, 5), done(1+i))
	}
	if got, errno = s.snapshot(); errno != 0 || len(got.Devices) != 1 {
		t.Errorf("%+v %v", got, errno)
	}
	s, k = newFakeKernel(t)
	k.says(sayErrno(unix.NLMSG_ERROR, 1, unix.EPERM))
	if _, errno = s.snapshot(); !errors.Is(errno, unix.EPERM) {
		t.Error(errno)
	}
}

func FuzzMessages(f *testing.F) {
	s := socket{}
	f.Add(s.routeRequest(Query{Dst: [4]byte{10, 0, 0, 1}, Src: [4]byte{10, 0, 0, 2}, Device: 3, Mark: 4, SrcPort: 5, DstPort: 6}))
	f.Add(say(unix.RTM_NEWLINK, 0, 0, make([]byte, 40)...))
	f.Add(say(unix.RTM_NEWADDR, 0, 0, unix.AF_INET, 24, 0, 0, 2, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1))
	f.Add(say(unix.RTM_NEWNEIGH, 0, 0, unix.AF_INET, 0, 0, 0, 2, 0, 0, 0, 128, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		for m, rest, ok := cutMessage(b); ok; m, rest, ok = cutMessage(rest) {
			if len(rest) >= len(b) {
				t.Fatal("no way on")
			}
			m.errno()
			parseDevice(m)
			parseAddress(m)
			parseNeighbour(m)
			parseRoute(Query{}, m)
			m.kind = unix.RTM_NEWROUTE
			parseRoute(Query{}, m)
			m.kind = unix.RTM_NEWLINK
			parseDevice(m)
		}
	})
}
