package shared

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/sockapi"
)

// onLo is an address that the lab's near end has on lo.
const onLo = "198.51.100.1"

// localAddresses are all kinds of addresses by which a host reaches itself.
var localAddresses = []string{"127.0.0.1", "127.1.2.3", "10.9.0.1", onLo, "0.0.0.0"}

// A talk is how a client and a server on one host talk.
type talk struct {
	to        string // the server's address
	specific  bool   // the server is bound to it
	connected bool   // both are
	size      int    // of each datagram
	segments  int    // over 1: sent by one call with UDP_SEGMENT
	gro       bool   // UDP_GRO of the receivers
}

func (k talk) String() string {
	return fmt.Sprintf("%s specific %t connected %t size %d segments %d gro %t", k.to, k.specific, k.connected, k.size, k.segments, k.gro)
}

// talks returns all kinds of them.
func talks() (all []talk) {
	for _, to := range localAddresses {
		for _, specific := range []bool{false, true} {
			for _, connected := range []bool{false, true} {
				if connected && !specific && to == "127.1.2.3" {
					continue // the server would answer from 127.0.0.1, in-band too
				}
				k := talk{to: to, specific: specific, connected: connected, size: 64, segments: 1}
				all = append(all, k)
				k.size = 60000
				all = append(all, k)
				k.size, k.segments = 1000, 10
				all = append(all, k)
				k.gro = true
				all = append(all, k)
			}
		}
	}
	return all
}

// play has a client ask and a server answer, twice, and returns who has got what from
// where.
func (k talk) play(client, server party, port uint16) (log string) {
	var options [][3]int
	if k.gro {
		options = append(options, [3]int{unix.SOL_UDP, unix.UDP_GRO, 1})
	}
	at := netip.IPv4Unspecified()
	if k.specific {
		at = netip.MustParseAddr(k.to)
	}
	asker, answerer := client.open(netip.AddrPort{}, options...), server.open(netip.AddrPortFrom(at, port), append(options, pktInfo)...)
	defer asker.Close()
	defer answerer.Close()
	if k.segments > 1 {
		check(client.t, asker.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, k.size))
		check(server.t, answerer.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, k.size))
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(k.to), port)
	if k.connected {
		check(client.t, asker.Connect(sockapi.InetAddrPort(to)))
		to = netip.AddrPort{}
	}
	for i := range 2 {
		asked, err := k.carry(client.t, asker, answerer, i, to)
		if err != nil {
			return log + "the question: " + err.Error()
		}
		back := asked.from
		if k.connected {
			if i == 0 {
				check(server.t, answerer.Connect(sockapi.InetAddrPort(back)))
			}
			back = netip.AddrPort{}
		}
		answered, err := k.carry(server.t, answerer, asker, i+10, back)
		if err != nil {
			return log + "the answer: " + err.Error()
		}
		log += fmt.Sprintf("from %s to %s (%s, device %d), answer from %s\n", asked.from.Addr(), asked.to, asked.spec, asked.device, answered.from)
	}
	silent(client.t, "the client", asker)
	silent(server.t, "the server", answerer)
	return strings.ReplaceAll(log, fmt.Sprint(":", port), ":PORT")
}

// carry sends a datagram, or segments, and receives them.
func (k talk) carry(t testing.TB, from, at *sockapi.Socket, i int, to netip.AddrPort) (last receipt, err error) {
	t.Helper()
	data, got := text(i, k.size*k.segments), ""
	sendTo(t, from, data, to)
	for got != data {
		if last, err = tryReceive(at, 0); err != nil {
			return last, fmt.Errorf("%w after %d bytes of %d", err, len(got), len(data))
		}
		if got += last.data; !strings.HasPrefix(data, got) || len(last.data) != k.size && last.segment != k.size {
			return last, fmt.Errorf("%d bytes, %.20q, segments of %d, after %d of %d", len(last.data), last.data, last.segment, len(got)-len(last.data), len(data))
		}
	}
	return last, nil
}

// Client and server on one host reach one another at each of its addresses, wherever they
// are: in-band, in this stack, in another one. Each has what two in-band sockets would have.
func TestHostLocalPairs(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		w.ip("address", "add", onLo+"/32", "dev", "lo")
		c := w.host.cfg
		if c.Only == claim.TCX {
			c.NoLo = !c.NoLo // the two need not be alike
		}
		all := w.parties(worldOf(t, w.Lab, c))
		before, port := counters(t, w.Near()), uint16(2000)
		for i, k := range talks() {
			if c.Only != claim.TCX && i%3 != int(c.Only) {
				continue // what the rungs do is little of it
			}
			want := k.play(all[0], all[0], 2000)
			for _, client := range all {
				for _, server := range all {
					port++
					if got := k.play(client, server, port); got != want {
						t.Errorf("%s, client %s, server %s:\n%swant\n%s", k, client.name, server.name, got, want)
					}
				}
			}
		}
		if g := grown(before, counters(t, w.Near()), "UdpNoPorts", "IcmpOutDestUnreachs", "IcmpInErrors", "IpInAddrErrors", "UdpRcvbufErrors"); g != "" {
			t.Errorf("the kernel has counted %s", g)
		}
		w.sysctlsUntouched()
	})
}

// sysctlsUntouched fails if the host judges addresses otherwise than a fresh one does.
func (w *world) sysctlsUntouched() {
	w.t.Helper()
	w.Near().In(w.t, func() error {
		for _, device := range []string{"all", "default", "near0", "lo"} {
			for _, name := range []string{"accept_local", "route_localnet", "forwarding"} {
				b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + device + "/" + name)
				if err != nil {
					return err
				}
				if got := strings.TrimSpace(string(b)); got != "0" {
					w.t.Errorf("%s of %s is %s", name, device, got)
				}
			}
		}
		return nil
	})
}
