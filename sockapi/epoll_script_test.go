package sockapi

import (
	"fmt"
	"testing"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// waitAPI returns the sockets of a stack of their own.
func waitAPI(t testing.TB) *API {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return New(st)
}

// waitSocket opens a UDP socket on loopback of the kind that flag says: SOCK_OOB
// or 0.
func waitSocket(t testing.TB, a *API, flag int) *Socket {
	t.Helper()
	s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
		t.Fatal(err)
	}
	return s
}

func waitEpoll(t testing.TB, a *API) *Epoll {
	t.Helper()
	e, err := a.EpollCreate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func nameOf(t testing.TB, s *Socket) Sockaddr {
	t.Helper()
	a, err := s.Getsockname()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A waitScript is a world in which the same calls are made on sockets of either
// kind, and what they return is written down.
type waitScript struct {
	t    testing.TB
	a    *API
	flag int
	e    *Epoll
	s, p *Socket // the socket and its peer
	log  []string
}

func (w *waitScript) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *waitScript) ctl(op int, events uint32, data uint64) {
	w.note("ctl %d %#x: %v", op, events, w.e.Ctl(op, w.s, EpollEvent{events, data}))
}

func (w *waitScript) add(events uint32) { w.ctl(unix.EPOLL_CTL_ADD, events, 1<<40|7) }
func (w *waitScript) mod(events uint32) { w.ctl(unix.EPOLL_CTL_MOD, events, 1<<50|9) }
func (w *waitScript) del()              { w.ctl(unix.EPOLL_CTL_DEL, 0, 0) }

func (w *waitScript) wait() {
	var ev [4]EpollEvent
	n, err := w.e.Wait(ev[:], 0)
	w.note("wait: %x %v", ev[:n], err)
}

// send sends a datagram from the peer to the socket.
func (w *waitScript) send() {
	if _, err := w.p.Sendto([]byte("hello"), 0, nameOf(w.t, w.s)); err != nil {
		w.note("send: %v", err)
	}
}

// reply sends one from the socket to the peer.
func (w *waitScript) reply() {
	_, err := w.s.Sendto([]byte("hello"), 0, nameOf(w.t, w.p))
	w.note("reply: %v", err)
}

func (w *waitScript) recv() {
	n, err := w.s.Recv(make([]byte, 10), 0)
	w.note("recv: %d %v", n, err)
}

func (w *waitScript) shutdown(how int) { w.note("shutdown %d: %v", how, w.s.Shutdown(how)) }

func (w *waitScript) connect(to Sockaddr) { w.note("connect: %v", w.s.Connect(to)) }

// refuse makes the socket get an ICMP error: it sends to a port that nobody has.
func (w *waitScript) refuse() {
	gone := waitSocket(w.t, w.a, w.flag)
	to := nameOf(w.t, gone)
	gone.Close()
	w.connect(to)
	_, err := w.s.Send([]byte("x"), 0)
	w.note("send: %v", err)
}

const etEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI

var waitScripts = []struct {
	name string
	run  func(w *waitScript)
}{
	{"nothing", func(w *waitScript) { w.add(unix.EPOLLIN); w.wait(); w.wait() }},
	{"writable", func(w *waitScript) { w.add(unix.EPOLLOUT); w.wait(); w.wait() }},
	{"writable, all names", func(w *waitScript) { w.add(0xffff); w.wait() }},
	{"level", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"level, two datagrams", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.send()
		w.wait()
		w.recv()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge, new datagram unread", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.wait()
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge, two before a wait", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.send()
		w.wait()
		w.wait()
	}},
	{"edge, read before the wait", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.recv()
		w.wait()
		w.send()
		w.wait()
	}},
	{"edge, in and out", func(w *waitScript) {
		w.add(etEvents | unix.EPOLLET)
		w.wait()
		w.wait()
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge, a datagram sent", func(w *waitScript) {
		w.add(unix.EPOLLOUT | unix.EPOLLET)
		w.wait()
		w.wait()
		w.reply()
		w.wait()
		w.wait()
	}},
	{"edge, sent, asks for input", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.reply()
		w.wait()
	}},
	{"added when ready", func(w *waitScript) { w.send(); w.add(unix.EPOLLIN); w.wait(); w.recv(); w.wait() }},
	{"added when ready, edge", func(w *waitScript) { w.send(); w.add(unix.EPOLLIN | unix.EPOLLET); w.wait(); w.wait() }},
	{"one-shot", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.send()
		w.wait()
		w.wait()
		w.send()
		w.wait()
		w.mod(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.wait()
		w.wait()
		w.recv()
		w.recv()
		w.mod(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.wait()
	}},
	{"one-shot, errors", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.send()
		w.wait()
		w.refuse()
		w.wait()
		w.mod(unix.EPOLLIN)
		w.wait()
	}},
	{"modified", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.mod(unix.EPOLLOUT)
		w.wait()
		w.mod(0)
		w.wait()
		w.mod(unix.EPOLLIN | unix.EPOLLET)
		w.wait()
		w.wait()
		w.mod(unix.EPOLLIN | unix.EPOLLET)
		w.wait()
		w.wait()
	}},
	{"removed", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.del()
		w.wait()
		w.add(unix.EPOLLIN)
		w.wait()
	}},
	{"errors of ctl", func(w *waitScript) {
		w.mod(unix.EPOLLIN)
		w.del()
		w.add(unix.EPOLLIN)
		w.add(unix.EPOLLIN)
		w.ctl(17, 0, 0)
		w.mod(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		w.del()
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLRDHUP)
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT)
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLET)
		w.mod(unix.EPOLLIN)
		w.mod(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		w.send()
		w.wait()
		w.wait()
		w.del()
		w.del()
	}},
	{"no room for events", func(w *waitScript) {
		_, err := w.e.Wait(nil, 0)
		w.note("%v", err)
	}},
	{"closed socket", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.s.Close()
		w.wait()
		w.add(unix.EPOLLIN)
	}},
	{"closed epoll", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.note("%v", w.e.Close())
		w.wait()
		w.del()
		w.note("%v", w.e.Close())
	}},
	{"shut down for reading", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(0xffff)
		w.wait()
		w.shutdown(unix.SHUT_RD)
		w.wait()
		w.recv()
		w.wait()
	}},
	{"shut down for writing", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(0xffff)
		w.shutdown(unix.SHUT_WR)
		w.wait()
	}},
	{"shut down for both", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(0)
		w.shutdown(unix.SHUT_RD)
		w.wait()
		w.shutdown(unix.SHUT_WR)
		w.wait()
		w.mod(0xffff)
		w.wait()
	}},
	{"shut down, edges", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(etEvents | unix.EPOLLET)
		w.wait()
		w.shutdown(unix.SHUT_RD)
		w.wait()
		w.wait()
		w.shutdown(unix.SHUT_WR)
		w.wait()
		w.wait()
	}},
	{"shut down without a peer", func(w *waitScript) {
		w.add(0xffff)
		w.shutdown(unix.SHUT_RDWR)
		w.wait()
	}},
	{"refused", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLOUT)
		w.refuse()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"refused, nothing asked", func(w *waitScript) { w.add(0); w.refuse(); w.wait(); w.recv(); w.wait() }},
	{"refused, edge", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.refuse()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"refused, SO_ERROR clears", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.refuse()
		w.wait()
		v, err := w.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
		w.note("SO_ERROR %d %v", v, err)
		w.wait()
	}},
	{"error queue", func(w *waitScript) {
		w.note("%v", w.s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1))
		w.add(0xffff)
		w.refuse()
		w.wait()
		v, err := w.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
		w.note("SO_ERROR %d %v", v, err)
		w.wait() // the queue is not empty: still an error
		m := Msghdr{Iov: [][]byte{make([]byte, 10)}, Control: make([]byte, 200)}
		n, err := w.s.Recvmsg(&m, unix.MSG_ERRQUEUE)
		w.note("recvmsg %d %v %#x", n, err, m.Flags)
		w.wait()
	}},
	{"error queue, edges", func(w *waitScript) {
		w.note("%v", w.s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1))
		w.add(etEvents | unix.EPOLLET)
		w.wait()
		w.refuse()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
}

// TestEpollAsLinux runs the scripts in-band, where the kernel's epoll answers,
// and out-of-band, where ours does.
func TestEpollAsLinux(t *testing.T) {
	for _, tt := range waitScripts {
		t.Run(tt.name, func(t *testing.T) {
			var logs [2][]string
			for i, flag := range []int{0, SOCK_OOB} {
				w := &waitScript{t: t, a: waitAPI(t), flag: flag}
				w.e = waitEpoll(t, w.a)
				w.s, w.p = waitSocket(t, w.a, flag), waitSocket(t, w.a, flag)
				tt.run(w)
				logs[i] = w.log
			}
			for i := range max(len(logs[0]), len(logs[1])) {
				if i >= len(logs[0]) || i >= len(logs[1]) || logs[0][i] != logs[1][i] {
					t.Fatalf("step %d differs\n in-band:     %q\n out-of-band: %q", i, logs[0], logs[1])
				}
			}
		})
	}
}
