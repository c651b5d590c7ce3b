package conformance

import (
	"errors"
	"maps"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// TestTagsReachTheKernel sets priorities and marks at the socket, and looks at
// what the kernel has of the frames at the device.
func TestTagsReachTheKernel(t *testing.T) {
	w := newWorld(t, setup{link: tpacket.Options{Qdisc: true}})
	var seen *lab.Tags
	err := w.near.Do(func() (err error) { seen, err = lab.NewTags(w.dev.Info().Index, true); return err })
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("needs CAP_BPF and Linux 6.6: ", err)
	}
	check(t, err)
	t.Cleanup(seen.Close)
	s, err := sockapi.New(w.stack).Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	check(t, err)
	defer s.Close()
	to := sockapi.InetAddrPort(w.far.AddrPort(7))
	set := func(level, name, v int) { t.Helper(); check(t, s.SetsockoptInt(level, name, v)) }
	message := sockapi.AppendCmsgInt
	for _, tt := range []struct {
		name    string
		prepare func()
		control []byte
		bytes   int
		want    map[lab.Tag]int
	}{
		{"neither", func() {}, nil, 10, map[lab.Tag]int{{}: 1}},
		{"SO_PRIORITY", func() { set(unix.SOL_SOCKET, unix.SO_PRIORITY, 3) }, nil, 10, map[lab.Tag]int{{Priority: 3}: 1}},
		{"SO_MARK too", func() { set(unix.SOL_SOCKET, unix.SO_MARK, 77) }, nil, 3000, map[lab.Tag]int{{Priority: 3, Mark: 77}: 3}},
		{"other messages", func() {}, message(message(nil, unix.SOL_SOCKET, unix.SO_MARK, 5), unix.SOL_SOCKET, unix.SO_PRIORITY, 1), 10,
			map[lab.Tag]int{{Priority: 1, Mark: 5}: 1}},
		{"IP_TOS's message", func() {}, message(nil, unix.SOL_IP, unix.IP_TOS, 0x10), 10, map[lab.Tag]int{{Priority: 6, Mark: 77}: 1}},
		{"IP_TOS", func() { set(unix.SOL_IP, unix.IP_TOS, 8) }, nil, 10, map[lab.Tag]int{{Priority: 2, Mark: 77}: 1}},
		{"taken back", func() {
			set(unix.SOL_IP, unix.IP_TOS, 0)
			set(unix.SOL_SOCKET, unix.SO_MARK, 0)
		}, nil, 10, map[lab.Tag]int{{}: 1}},
	} {
		tt.prepare()
		check(t, w.stack.Solicit(w.far.Addr, lab.Patience, 0))
		_, err := seen.Take()
		check(t, err)
		_, err = s.Sendmsg(&sockapi.Msghdr{Name: to, Iov: [][]byte{make([]byte, tt.bytes)}, Control: tt.control}, 0)
		check(t, err)
		got, err := seen.Take()
		check(t, err)
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s: the kernel has %v, expected %v", tt.name, got, tt.want)
		}
	}
}
