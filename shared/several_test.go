package shared

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

var reusePort = [3]int{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}

// Of sockets that share a port by SO_REUSEADDR, in-band or of two stacks, the one that was
// bound last has all that comes, from the wire and from the host, whole and in fragments; and
// the one before it when it is gone.
func TestLastBoundHasAll(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		all := w.parties(w.another())
		wire, local := inBand(t, w.Far()).open(netip.AddrPort{}), inBand(t, w.Near()).open(netip.AddrPort{})
		for i, order := range orders {
			to := addrPort(w.Near(), uint16(3000+i))
			var sockets []*sockapi.Socket
			var names []string
			for _, at := range order {
				sockets = append(sockets, all[at].open(to, reuseAddr))
				names = append(names, all[at].name)
			}
			for len(sockets) > 0 {
				last := len(sockets) - 1
				for _, from := range []*sockapi.Socket{wire, local} {
					for _, size := range []int{10, 3000} {
						want := text(i, size)
						sendTo(t, from, want, to)
						if got, err := tryReceive(sockets[last], 0); err != nil || got.data != want {
							t.Fatalf("%s: the last has not got it: %v", strings.Join(names, ", "), err)
						}
					}
				}
				for at, k := range sockets {
					silent(t, fmt.Sprintf("%s: %s", strings.Join(names, ", "), names[at]), k)
				}
				check(t, sockets[last].Close())
				sockets, names = sockets[:last], names[:last]
			}
		}
	})
}

// Of sockets that share a port by SO_REUSEPORT, in-band or of two stacks, each datagram is
// for one, and all of a flow for the same one; though a raw socket and a packet socket have
// the ring take everything.
func TestGroupOfSeveral(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		all := w.parties(w.another())
		to := addrPort(w.Near(), 3000)
		var sockets []*sockapi.Socket
		for _, p := range all {
			sockets = append(sockets, p.open(to, reusePort))
		}
		raw, err := w.st.NewRawSocket(unix.IPPROTO_UDP)
		check(t, err)
		defer raw.Close()
		if !w.host.cfg.NoLo {
			frames, err := w.st.NewPacketSocket(false, unix.ETH_P_ALL)
			check(t, err)
			defer frames.Close()
		}
		const flows = 60
		had := map[int]int{}
		for flow := range flows {
			from := w.Far()
			if flow%2 == 1 {
				from = w.Near() // to the host itself
			}
			k := inBand(t, from).open(netip.AddrPort{})
			sendTo(t, k, text(flow, 20), to)
			sendTo(t, k, text(flow, 20), to)
			had[w.whose(sockets, text(flow, 20), 2)]++
			check(t, k.Close())
		}
		for at, p := range all {
			if had[at] == 0 {
				t.Errorf("%s has had none of %d flows: %v", p.name, flows, had)
			}
		}
	})
}

// whose returns which of some sockets has received n datagrams, and fails if it is not one.
func (w *world) whose(sockets []*sockapi.Socket, want string, n int) int {
	w.t.Helper()
	owner := -1
	w.eventually("one of them has it", func() bool {
		for at, k := range sockets {
			r, err := tryReceive(k, unix.MSG_DONTWAIT|unix.MSG_PEEK)
			if err != nil {
				continue
			}
			if r.data != want {
				w.t.Errorf("%d has %q", at, r.data)
			}
			owner = at
		}
		return owner >= 0
	})
	for range n {
		if got := receive(w.t, sockets[owner]); got.data != want {
			w.t.Errorf("%q", got.data)
		}
	}
	for at, k := range sockets {
		silent(w.t, fmt.Sprintf("%d, beside %d", at, owner), k)
	}
	return owner
}
