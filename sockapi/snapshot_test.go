package sockapi

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// snapshotAPI returns the sockets of a stack of its own, with loopback only.
func snapshotAPI(t *testing.T) *API {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return New(st)
}

// restored returns what another stack makes of a snapshot.
func restored(t *testing.T, s *Socket) *Socket {
	t.Helper()
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again, err := snapshotAPI(t).Restore(b)
	if err != nil {
		t.Fatalf("%v, of %s", err, b)
	}
	return again
}

// Each option that can be set and read is the same after a snapshot, whatever it is.
func TestSnapshotOfEachOption(t *testing.T) {
	api := snapshotAPI(t)
	changed := 0
	for _, k := range []struct{ domain, typ, proto int }{
		{unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, {unix.AF_INET, unix.SOCK_RAW, 89},
		{unix.AF_PACKET, unix.SOCK_RAW, 0},
	} {
		for key := range option.Options {
			if key.Level == unix.SOL_SOCKET && key.Name == unix.SO_ERROR {
				continue
			}
			for _, v := range []int{1, 2, 5000} {
				s, err := api.Socket(k.domain, k.typ|SOCK_OOB, k.proto)
				if err != nil {
					t.Fatal(err)
				}
				var was, is, now [64]byte
				n, err := s.Getsockopt(key.Level, key.Name, was[:])
				value := make([]byte, max(n, 4))
				binary.NativeEndian.PutUint32(value, uint32(v))
				if err != nil || s.Setsockopt(key.Level, key.Name, value) != nil {
					s.Close()
					continue
				}
				n, _ = s.Getsockopt(key.Level, key.Name, is[:])
				again := restored(t, s)
				m, err := again.Getsockopt(key.Level, key.Name, now[:])
				if err != nil || !bytes.Equal(is[:n], now[:m]) {
					t.Errorf("%v: option %d/%d set to %d is %x, then %x: %v", k, key.Level, key.Name, v, is[:n], now[:m], err)
				}
				a, b := s.backend.(*stackSocket), again.backend.(*stackSocket)
				if a.Wants.Load() != b.Wants.Load() {
					t.Errorf("%v: option %d/%d set to %d: control messages %#x, then %#x", k, key.Level, key.Name, v, a.Wants.Load(), b.Wants.Load())
				}
				if is != was {
					changed++
				}
				s.Close()
			}
		}
	}
	if changed < 100 {
		t.Errorf("%d options only were changed", changed)
	}
}

func TestSnapshotOfGroups(t *testing.T) {
	api := snapshotAPI(t)
	s, err := api.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, 0)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	addr := netip.MustParseAddr
	const lo = 1
	must(s.JoinGroup(lo, addr("239.1.1.1")))
	must(s.JoinSourceGroup(lo, addr("232.1.1.1"), addr("10.9.9.1")))
	must(s.JoinSourceGroup(lo, addr("232.1.1.1"), addr("10.9.9.2")))
	must(s.JoinGroup(lo, addr("239.1.1.2")))
	must(s.BlockSource(lo, addr("239.1.1.2"), addr("10.9.9.3")))
	must(s.SetMulticastInterface(lo))
	a, b := s.backend.(*stackSocket), restored(t, s).backend.(*stackSocket)
	is, now := a.IP.Multicast().Joined(), b.IP.Multicast().Joined()
	if len(is) != 3 || len(now) != 3 {
		t.Fatalf("%d groups, then %d", len(is), len(now))
	}
	for i := range is {
		if is[i].Request != now[i].Request || is[i].Filter.Mode != now[i].Filter.Mode || len(is[i].Filter.Sources) != len(now[i].Filter.Sources) {
			t.Errorf("group %d: %+v, then %+v", i, is[i], now[i])
		}
		for j, src := range is[i].Filter.Sources {
			if now[i].Filter.Sources[j] != src {
				t.Errorf("source %d: %v, then %v", j, src, now[i].Filter.Sources[j])
			}
		}
	}
	if i, _ := b.IP.Multicast().Interface(); i != lo {
		t.Errorf("interface %d", i)
	}
}

// Addresses, peers, O_NONBLOCK and filters are what they were.
func TestSnapshotOfNames(t *testing.T) {
	api := snapshotAPI(t)
	local, peer := Inet4([4]byte{127, 0, 0, 1}, 4711), Inet4([4]byte{127, 0, 0, 1}, 9)
	for name, tt := range map[string]struct {
		nonblock int
		make     func(s *Socket) error
	}{
		"fresh":     {0, func(*Socket) error { return nil }},
		"bound":     {0, func(s *Socket) error { return s.Bind(local) }},
		"any":       {unix.SOCK_NONBLOCK, func(s *Socket) error { return s.Bind(Inet4([4]byte{}, 4711)) }},
		"connected": {unix.SOCK_NONBLOCK, func(s *Socket) error { return s.Connect(peer) }},
		"both": {0, func(s *Socket) error {
			if err := s.Bind(Inet4([4]byte{}, 4711)); err != nil {
				return err
			}
			return s.Connect(peer)
		}},
		"filtered": {0, func(s *Socket) error {
			if err := s.AttachFilter([]bpf.RawInstruction{{Op: unix.BPF_RET, K: 5}}); err != nil {
				return err
			}
			return s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1)
		}},
	} {
		s, err := api.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB|tt.nonblock, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.make(s); err != nil {
			t.Fatal(name, err)
		}
		again := restored(t, s)
		is, _ := s.Getsockname()
		now, _ := again.Getsockname()
		to, err := s.Getpeername()
		toNow, errNow := again.Getpeername()
		if is != now || to != toNow || err != errNow {
			t.Errorf("%s: %v to %v (%v), then %v to %v (%v)", name, is, to, err, now, toNow, errNow)
		}
		if a, b := s.backend.(*stackSocket), again.backend.(*stackSocket); a.nonblock.Load() != b.nonblock.Load() || a.IP.Bound() != b.IP.Bound() {
			t.Errorf("%s: bound to %v, then %v, or O_NONBLOCK is another", name, a.IP.Bound(), b.IP.Bound())
		}
		n, _ := s.Getsockopt(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, nil)
		if m, _ := again.Getsockopt(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, nil); n != m {
			t.Errorf("%s: a filter of %d instructions, then %d", name, n, m)
		}
		s.Close()
	}
	in, err := api.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Snapshot(); err != unix.EOPNOTSUPP {
		t.Errorf("in-band: %v", err)
	}
	in.Close()
	if _, err := in.Snapshot(); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
	if _, err := api.Restore([]byte("no")); err != unix.EINVAL {
		t.Errorf("no snapshot: %v", err)
	}
}
