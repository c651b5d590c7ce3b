package shared

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack"
)

// prompt is within what time the stack is to know of a change that the kernel knows of.
const prompt = 100 * time.Millisecond

// A turn is a change of the host's, and the way back.
type turn struct {
	name        string
	there, back []string // arguments of ip(8)
	is, was     func() bool
}

// promptly makes a change and goes back, and fails unless both are known in time. A busy machine
// may be late; one that is late each time is not busy.
func (w *world) promptly(c turn) {
	w.t.Helper()
	var took []time.Duration
	for range 5 {
		slowest := time.Duration(0)
		for _, half := range []struct {
			args []string
			is   func() bool
		}{{c.there, c.is}, {c.back, c.was}} {
			w.ip(half.args...)
			began := time.Now()
			w.eventually(c.name, half.is)
			slowest = max(slowest, time.Since(began))
		}
		if took = append(took, slowest); slowest <= prompt {
			return
		}
	}
	w.t.Errorf("%s is known after %v", c.name, took)
}

// Whatever changes at the host, the stack goes by it within 100 ms: rules, routes, links, names,
// MTUs, addresses, neighbours.
func TestChangesArePrompt(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.ip("address", "add", "10.9.0.77/24", "dev", "near0")
		w.ip("route", "add", "192.0.2.0/24", "via", "10.9.0.2", "table", "7")
		w.ip("route", "add", "198.51.100.0/24", "via", "10.9.0.2", "src", "10.9.0.1")
		far := w.Far().UDP(t, 5000)
		to := addrPort(w.Far(), 5000)
		marked, plain, mine := w.socket(""), w.socket(""), w.socket("0.0.0.0:7")
		marked.Sending().SetMark(5)
		errno := func(k *stack.UDPSocket, to string, want error) func() bool {
			return func() bool { return w.errnoOfSend(k, to) == want }
		}
		source := func(want string) func() bool {
			return func() bool {
				k := w.socket("")
				defer k.Close()
				return k.Connect(netip.MustParseAddrPort("198.51.100.1:9")) == nil && k.LocalAddr().Addr().String() == want
			}
		}
		bind := func(want error) func() bool {
			return func() bool {
				k := w.socket("")
				defer k.Close()
				return k.Bind(netip.MustParseAddrPort("203.0.113.1:9")) == want
			}
		}
		mtu := func(want int) func() bool {
			return func() bool {
				k := w.socket("")
				defer k.Close()
				check(t, k.Connect(to))
				got, _ := k.PathMTU()
				return got == want
			}
		}
		known := func(name string) func() bool { return func() bool { return w.st.InterfaceByName(name) != nil } }
		mac := func(last byte) func() bool {
			return func() bool {
				for _, n := range w.st.Neighbours() {
					if n.Addr == ([4]byte{10, 9, 0, 200}) {
						return n.MAC == [6]byte{2, 0, 0, 0, 0, last}
					}
				}
				return false
			}
		}
		for _, c := range []turn{
			{"a rule by a mark", []string{"rule", "add", "fwmark", "5", "table", "7"}, []string{"rule", "del", "fwmark", "5", "table", "7"},
				errno(marked, "192.0.2.1:9", nil), errno(marked, "192.0.2.1:9", unix.ENETUNREACH)},
			{"a default route", []string{"route", "add", "default", "via", "10.9.0.2"}, []string{"route", "del", "default"},
				errno(plain, "192.0.2.1:9", nil), errno(plain, "192.0.2.1:9", unix.ENETUNREACH)},
			{"another source", []string{"route", "replace", "198.51.100.0/24", "via", "10.9.0.2", "src", "10.9.0.77"},
				[]string{"route", "replace", "198.51.100.0/24", "via", "10.9.0.2", "src", "10.9.0.1"}, source("10.9.0.77"), source("10.9.0.1")},
			{"an MTU", []string{"link", "set", "near0", "mtu", "1200"}, []string{"link", "set", "near0", "mtu", "1500"}, mtu(1200), mtu(1500)},
			{"a name", []string{"link", "set", "near0", "name", "other0"}, []string{"link", "set", "other0", "name", "near0"}, known("other0"), known("near0")},
			{"an address", []string{"address", "add", "203.0.113.1/24", "dev", "near0"}, []string{"address", "del", "203.0.113.1/24", "dev", "near0"},
				bind(nil), bind(unix.EADDRNOTAVAIL)},
			{"a neighbour's hardware address", []string{"neigh", "replace", "10.9.0.200", "lladdr", "02:00:00:00:00:77", "dev", "near0", "nud", "permanent"},
				[]string{"neigh", "replace", "10.9.0.200", "lladdr", "02:00:00:00:00:78", "dev", "near0", "nud", "permanent"}, mac(0x77), mac(0x78)},
			{"a link that is down", []string{"link", "set", "near0", "down"}, []string{"link", "set", "near0", "up"},
				errno(mine, to.String(), unix.ENETUNREACH), errno(mine, to.String(), nil)},
		} {
			w.promptly(c)
		}
		for last := ""; last != "the end"; { // behind what the turns have sent
			check(t, mine.SendTo([]byte("the end"), 0, w.st.Deadline(soon), to))
			last, _ = recvInBand(t, far)
		}
	})
}
