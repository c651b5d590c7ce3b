package stack

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// small are limits that tests reach at once.
var small = Limits{GroupFlows: 4, GroupFlowSockets: 8, Sockets: 8, ReceiveBytes: 64 << 10, Outbox: 8, Scheduled: 8,
	ScheduledPerSocket: 4, PathMTUs: 4, TxBuffers: 1, PoolBytes: 64 << 10}

// floods go beyond each limit, by a test of their own or by one that does so already.
var floods = map[string]func(t *testing.T, w *wire){
	"Limits.GroupFlows":         elsewhere(TestRememberedFlows),
	"Limits.GroupFlowSockets":   elsewhere(TestRememberedFlows),
	"Limits.Sockets":            floodSockets,
	"Limits.ReceiveBytes":       floodReceiveMemory,
	"Limits.Outbox":             elsewhere(TestOutboxOverflows),
	"Limits.Scheduled":          floodSchedule,
	"Limits.ScheduledPerSocket": floodSchedule,
	"Limits.PathMTUs":           floodPathMTUs,
	"Limits.TxBuffers":          floodTxBuffers,
	"Limits.PoolBytes":          elsewhere(TestFloods),
	"Config.MaxMemberships":     elsewhere(TestFilterCalls),
	"Config.MaxSources":         elsewhere(TestFilterCalls),
	"SO_RCVBUF":                 elsewhere(TestFloods),
	"SO_SNDBUF":                 elsewhere(TestSendBuffer),
	"arp.Config.MaxEntries":     elsewhere(TestFloods),
	"arp.Config.MaxQueuedBytes": elsewhere(TestWaitingDatagramsAreLost),
	"ipv4.ReassemblyConfig":     elsewhere(TestFragmentFloodIsBounded),
	"icmp.LimiterConfig":        elsewhere(TestErrorsAreRateLimited),
}

// elsewhere says that a test reaches the limit; that the test exists the compiler sees.
func elsewhere(func(*testing.T)) func(*testing.T, *wire) { return nil }

// TestLimits floods past each limit of the list, and looks whether all works afterwards.
func TestLimits(t *testing.T) {
	for _, l := range AllLimits() {
		flood, listed := floods[l.Name]
		if !listed {
			t.Errorf("%s: nothing goes beyond it", l.Name)
			continue
		}
		if l.Unit == "" || l.Reached == "" {
			t.Errorf("%s: what, and what happens?", l.Name)
		}
		if flood == nil {
			continue
		}
		t.Run(l.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire(t, Config{Limits: small})
				w.resolved()
				w.mark()
				flood(t, w)
				if l.Counter != "" && w.s.Stats().Get(l.Counter) <= w.base.Get(l.Counter) {
					t.Errorf("%s has not grown", l.Counter)
				}
				worksStill(t, w)
			})
		})
	}
	if len(floods) != len(AllLimits()) {
		t.Errorf("%d floods for %d limits", len(floods), len(AllLimits()))
	}
}

func floodSockets(t *testing.T, w *wire) {
	var all []*Socket
	for {
		k, err := w.s.NewSocket(ipv4.ProtocolUDP)
		if err == unix.ENFILE {
			break
		}
		check(t, err)
		if all = append(all, k); len(all) > small.Sockets {
			t.Fatalf("%d sockets", len(all))
		}
	}
	for _, k := range all {
		check(t, k.Close())
	}
}

func floodReceiveMemory(t *testing.T, w *wire) {
	k := w.socket("10.9.0.1:9", "")
	k.SetReceiveBuffer(1 << 30)
	for range 200 {
		w.feed(udpFrom(7, 9, string(payload(1000))))
	}
	n := k.queue.n.Load()
	if n < 10 || n > 100 {
		t.Errorf("%d datagrams are queued", n)
	}
	other := w.socket("10.9.0.1:10", "")
	w.feed(udpFrom(7, 10, "its own"))
	w.got(other, "its own") // each has a little whatever others do
	buf := make([]byte, 1000)
	for range n {
		if _, _, err := k.Recv(buf, unix.MSG_DONTWAIT, NoDeadline); err != nil {
			t.Fatal(err)
		}
	}
	check(t, k.Close())
	check(t, other.Close())
	if left := w.s.receiveMemory.reserved.Load(); left != 0 {
		t.Errorf("%d bytes are not given back", left)
	}
}

func floodSchedule(t *testing.T, w *wire) {
	var all []*Socket
	for range 3 {
		k := w.timed(monotonic)
		k.SetRecvErr(true)
		all = append(all, k)
		for n := range small.ScheduledPerSocket + 1 {
			err := w.sendAt(k, []byte("x"), w.at(time.Hour))
			if full := n == small.ScheduledPerSocket || len(all) == 3; full != (err == unix.ENOBUFS) {
				t.Errorf("socket %d, datagram %d: %v", len(all), n, err)
			}
		}
	}
	for _, k := range all {
		check(t, k.Close())
	}
	if n := w.s.Scheduled(); n != 0 {
		t.Errorf("%d frames of closed sockets are scheduled", n)
	}
}

func floodPathMTUs(t *testing.T, w *wire) {
	w.defaultRoute()
	for i := range 3 * small.PathMTUs {
		k := w.socket("", netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}), 7).String())
		w.send(k, payload(1400))
		f := w.sentIP()
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, icmp.FragmentationRest(600), f[len(f)-1].data[ipOffset:]))
		if mtu, err := k.PathMTU(); mtu != 600 {
			t.Errorf("path %d: %d, %v", i, mtu, err)
		}
		check(t, k.Close())
	}
	if n := w.s.pmtu.Len(); n > small.PathMTUs {
		t.Errorf("%d paths are remembered", n)
	}
}

func floodTxBuffers(t *testing.T, w *wire) {
	before := len(w.s.txAll)
	var all []*txbuf
	for i := range uint64(100) {
		all = append(all, w.s.acquireTx(i))
	}
	for i, tx := range all {
		tx.count[udpOutDatagrams].Add(1)
		w.s.releaseTx(tx, uint64(i))
	}
	if n := len(w.s.txAll); n > before+txSlots+small.TxBuffers {
		t.Errorf("%d transmit buffers are kept", n)
	}
	w.grew("UdpOutDatagrams", 100)
}
