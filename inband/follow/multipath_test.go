package follow

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// TestMultipath sends from in-band sockets to many destinations, and sees by which link
// each datagram comes.
func TestMultipath(t *testing.T) {
	for _, c := range []struct{ name, setup, policy string }{
		{"multipath route", "route add 10.9.0.0/16 nexthop via 10.0.0.2 weight 1 nexthop via 10.1.0.2 weight 3", "0"},
		{"nexthop group", "nexthop add id 1 via 10.0.0.2 dev up0 \n nexthop add id 2 via 10.1.0.2 dev up1 \n nexthop add id 3 group 1/2 \n route add 10.9.0.0/16 nhid 3", "0"},
		{"hash of ports", "route add 10.9.0.0/16 nexthop via 10.0.0.2 nexthop via 10.1.0.2", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, far := uplinks(t)
			must(t, l.SetSysctl("net/ipv4/fib_multipath_hash_policy", c.policy))
			l.ip(c.setup)
			far.ip("route add local 10.9.0.0/16 dev lo")
			k := l.open()
			server := far.arrivals(t)
			used := map[int32]int{}
			for i := range 32 {
				for _, connected := range []bool{false, true} {
					to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 9)
					q, by := l.sendAndAsk(t, to, connected, server, far)
					a, errno := k.Route(q)
					if errno != 0 || a.Device != by {
						t.Errorf("%v connected %t: %+v %v, in-band by %d", to, connected, a, errno, by)
					}
					used[by]++
				}
			}
			if len(used) != 2 {
				t.Error("used:", used)
			}
		})
	}
}

// sendAndAsk sends a datagram in-band, and returns the query for it and the index of the
// device by which it went.
func (l *lab) sendAndAsk(t *testing.T, to netip.AddrPort, connected bool, server int, far *lab) (q Query, by int32) {
	t.Helper()
	var u *inband.UDP
	must(t, l.Do(func() (err error) { u, err = inband.OpenUDP(netip.MustParseAddrPort("0.0.0.0:0")); return err }))
	defer u.Close()
	q = Query{Dst: to.Addr().As4(), DstPort: to.Port()}
	if connected {
		must(t, u.Connect(to))
		_, err := u.Send([]byte("x"))
		must(t, err)
	} else {
		must(t, u.SendTo([]byte("x"), to))
	}
	local, err := u.LocalAddr()
	must(t, err)
	q.SrcPort = local.Port()
	if connected {
		q.Src = local.Addr().As4()
	}
	names := map[int32]string{far.index("far0"): "up0", far.index("far1"): "up1"}
	return q, l.index(names[arrival(t, server)])
}

// arrivals opens a socket that tells by which device datagrams come.
func (l *lab) arrivals(t *testing.T) (fd int) {
	t.Helper()
	must(t, l.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
			return err
		}
		tv := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 9})
	}))
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// arrival returns the device by which the next datagram came (IP_PKTINFO).
func arrival(t *testing.T, fd int) int32 {
	t.Helper()
	var buf, control [64]byte
	for {
		_, n, _, _, err := unix.Recvmsg(fd, buf[:], control[:], 0)
		if err == unix.EINTR {
			continue
		}
		must(t, err)
		messages, err := unix.ParseSocketControlMessage(control[:n])
		must(t, err)
		return int32(native.Uint32(messages[0].Data))
	}
}
