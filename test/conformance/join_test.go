package conformance

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// From the call that joins to the first datagram, while the sender is sending: the
// stack's sockets beside the kernel's, on one wire.

// A joiner opens a socket, joins a group that is being sent to, and takes the first
// datagram.
type joiner struct {
	api   *sockapi.API
	typ   int
	index int
	spin  bool
}

// join returns how long it was from the call that joins to the datagram.
func (j *joiner) join(group [4]byte, b []byte) (time.Duration, error) {
	s, err := j.api.Socket(unix.AF_INET, j.typ, 0)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, lab.Patience); err != nil {
		return 0, err
	}
	if err := s.Bind(sockapi.Inet4([4]byte{}, 7)); err != nil {
		return 0, err
	}
	mreqn := slices.Concat(group[:], make([]byte, 4), binary.NativeEndian.AppendUint32(nil, uint32(j.index)))
	began := time.Now()
	if err := s.Setsockopt(unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, mreqn); err != nil {
		return 0, err
	}
	for flags := 0; ; {
		if j.spin {
			flags = unix.MSG_DONTWAIT
		}
		_, err := s.Recv(b, flags)
		if err != unix.EAGAIN || time.Since(began) > lab.Patience {
			return time.Since(began), err
		}
	}
}

// contenders are who joins: asleep until the datagram comes, or looking for it.
var contenders = []struct {
	name string
	typ  int
	spin bool
}{
	{"ours", unix.SOCK_DGRAM | sockapi.SOCK_OOB, false},
	{"kernel", unix.SOCK_DGRAM, false},
	{"ours spinning", unix.SOCK_DGRAM | sockapi.SOCK_OOB, true},
	{"kernel spinning", unix.SOCK_DGRAM, true},
}

// newJoiner returns a joiner on a wire of its own, at whose other end the kernel sends
// to groupA each 50 us on average, until the test is over.
func newJoiner(t testing.TB, typ int, spin bool) (*joiner, *lab.Endpoint) {
	where := lab.All
	if typ&sockapi.SOCK_OOB != 0 {
		where = lab.Far
	}
	l := lab.New(t, lab.Config{Kernel: where})
	near := l.Near()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	j := &joiner{sockapi.New(st), typ, index(t, near), spin}
	if where == lab.Far {
		ifc, err := st.AddLink(openRing(t, near, linkOptions(4096)), stack.InterfaceConfig{})
		check(t, err)
		check(t, ifc.AddAddress(near.Prefix()))
		j.index = ifc.Index()
	}
	u := kernelMember(t, l.Far(), 0)
	var quit atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 64)
		for !quit.Load() {
			if u.SendTo(b, at(groupA, 7)) != nil {
				return
			}
			// At random, so that nobody gets into step with it.
			gap := time.Duration(rand.IntN(100)) * time.Microsecond
			for began := time.Now(); time.Since(began) < gap; {
			}
		}
	})
	t.Cleanup(func() { quit.Store(true); wg.Wait() })
	return j, near
}

// times joins n times, and returns how long each took, in order.
func (j *joiner) times(t testing.TB, near *lab.Endpoint, n int) (all []time.Duration) {
	t.Helper()
	near.In(t, func() error { // where the kernel's sockets are opened
		b := make([]byte, 100)
		for range n {
			d, err := j.join(groupA, b)
			if err != nil {
				return err
			}
			all = append(all, d)
		}
		return nil
	})
	slices.Sort(all)
	return all
}

// TestJoinToFirstDatagram shows the times, and that a datagram always comes.
func TestJoinToFirstDatagram(t *testing.T) {
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			j, near := newJoiner(t, c.typ, c.spin)
			all := j.times(t, near, 200)
			t.Logf("min %v, median %v, p90 %v, max %v", all[0], all[100], all[180], all[199])
		})
	}
}

// BenchmarkJoinToFirstDatagram measures from the call that joins to the datagram in the
// caller's buffer; ns/op has the socket's opening and closing too.
func BenchmarkJoinToFirstDatagram(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			j, near := newJoiner(b, c.typ, c.spin)
			b.ResetTimer()
			all := j.times(b, near, b.N)
			b.StopTimer()
			b.ReportMetric(float64(all[len(all)/2]), "median-ns")
			b.ReportMetric(float64(all[len(all)*9/10]), "p90-ns")
		})
	}
}
