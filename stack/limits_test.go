package stack

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// small are limits that tests reach at once.
var small = Limits{GroupFlows: 4, GroupFlowSockets: 8, Sockets: 8, ReceiveBytes: 64 << 10, Outbox: 8, Scheduled: 8,
	ScheduledPerSocket: 4, PathMTUs: 4, TxBuffers: 1, PoolBytes: 64 << 10}

// floods go beyond each limit, by a test of their own or by one that does so already.
var floods = map[string]func(t *testing.T, w *wire){
	"Limits.GroupFlows":         floodGroupFlows,
	"Limits.GroupFlowSockets":   floodGroupFlowSockets,
	"Limits.Sockets":            floodSockets,
	"Limits.ReceiveBytes":       floodReceiveMemory,
	"Limits.Outbox":             elsewhere(TestOutboxOverflows),
	"Limits.Scheduled":          floodSchedule,
	"Limits.ScheduledPerSocket": floodSchedule,
	"Limits.PathMTUs":           floodPathMTUs,
	"Limits.TxBuffers":          floodTxBuffers,
	"Limits.PoolBytes":          floodPool,
	"Config.MaxMemberships":     elsewhere(TestFilterCalls),
	"Config.MaxSources":         elsewhere(TestFilterCalls),
	"SO_RCVBUF":                 elsewhere(TestFloods),
	"SO_SNDBUF":                 elsewhere(TestSendBuffer),
}

// inRoom are the tests of protocol rooms that reach their own limits.
var inRoom = map[string]string{
	"arp.Config.MaxEntries":            "arp.TestResolveFloodIsBounded",
	"arp.Config.MaxAddresses":          "arp.TestAddAddressRefuses",
	"arp.Config.MaxEvents":             "arp.TestInputFloodWithoutNext",
	"arp.Config.MaxConflicts":          "arp.TestProbingRateLimit",
	"arp.Config.QueueLen":              "arp.TestEnqueueOrderAndOverflow",
	"arp.Config.QueueBytes":            "arp.TestEnqueueBytes",
	"arp.Config.TotalQueueBytes":       "arp.TestEnqueueTotalIsShared",
	"arp.Config.AnswerQueueLen":        "arp.TestAnswersWaitFairly",
	"arp.Config.AnswerQueueBytes":      "arp.TestAnswersTakeNothing",
	"arp.Config.MaxAnswering":          "arp.TestAnswersTakeNothing",
	"igmp.Config.MaxLeaving":           "igmp.TestBounds",
	"igmp.Config.MaxDeadSources":       "igmp.TestBounds",
	"igmp.Config.MaxQuerySources":      "igmp.TestQuerySourceLimit",
	"igmp.Config.MaxQueue":             "igmp.TestBounds",
	"ipv4.ReassemblyConfig.HighThresh": "ipv4.TestReassemblyFlood",
	"ipv4.ReassemblyConfig.MaxDist":    "ipv4.TestReassemblyMaxDist",
	"icmp.LimiterConfig.MsgsPerSec":    "icmp.TestLimiterGlobal",
	"icmp.LimiterConfig.RateLimit":     "icmp.TestLimiterPerHost",
	"icmp.LimiterConfig.MaxHosts":      "icmp.TestLimiterForgetsTheLongestIdle",
}

// elsewhere says that a test reaches the limit; that the test exists the compiler sees.
func elsewhere(func(*testing.T)) func(*testing.T, *wire) { return nil }

// TestLimits floods past each limit of the list, and looks whether all works afterwards.
func TestLimits(t *testing.T) {
	for _, l := range AllLimits() {
		flood, listed := floods[l.Name]
		if test := inRoom[l.Name]; test != "" {
			room, name, _ := strings.Cut(test, ".")
			if listed = strings.Contains(testsOf(t, room), "func "+name+"("); !listed {
				t.Errorf("%s: there is no test %s", l.Name, test)
			}
		}
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
				if l.Counter != "" {
					w.grewSoFar(l.Counter)
				}
				worksStill(t, w)
			})
		})
	}
	if n := len(floods) + len(inRoom); n != len(AllLimits()) {
		t.Errorf("%d floods for %d limits", n, len(AllLimits()))
	}
}

// testsOf returns the text of a protocol room's tests.
func testsOf(t *testing.T, room string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", room, "*_test.go"))
	check(t, err)
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		all.Write(b)
	}
	return all.String()
}

// floodGroupFlows has more groups and ports than are remembered: all are delivered.
func floodGroupFlows(t *testing.T, w *wire) {
	k := w.socket("0.0.0.0:9", "")
	for n := range 4 * small.GroupFlows {
		check(t, k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(n), Interface: w.ifc.Index()}))
	}
	for range 2 {
		for n := range 4 * small.GroupFlows {
			w.feed(groupFrame(groupAddr(n), 9, []byte("each")))
			w.got(k, "each")
			if n, _ := w.s.lanes.first.flows.Len(); n > small.GroupFlows {
				t.Fatalf("%d flows are remembered", n)
			}
		}
	}
	if w.s.lanes.first.flows.Drops() == 0 {
		t.Error("the limit was not reached")
	}
	check(t, k.Close())
	w.reported()
}

// floodGroupFlowSockets has one group with more members than are remembered.
func floodGroupFlowSockets(t *testing.T, w *wire) {
	var all []*UDPSocket
	for range small.Sockets - 1 { // one is left for worksStill
		k := udpSocket(t, w.s, "")
		k.SetReuse(true, false)
		check(t, k.Bind(netip.MustParseAddrPort("0.0.0.0:9")))
		for n := range 4 {
			check(t, k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(n), Interface: w.ifc.Index()}))
		}
		all = append(all, k)
	}
	for range 2 {
		for n := range 4 {
			w.feed(groupFrame(groupAddr(n), 9, []byte("all")))
			for _, k := range all {
				w.got(k, "all")
			}
			if _, n := w.s.lanes.first.flows.Len(); n > small.GroupFlowSockets+len(all) {
				t.Fatalf("%d sockets are remembered", n)
			}
		}
	}
	if w.s.lanes.first.flows.Drops() == 0 {
		t.Error("the limit was not reached")
	}
	for _, k := range all {
		check(t, k.Close())
	}
	w.reported()
}

// reported waits until the last report of groups is sent, of some that IGMP sends at
// random times.
func (w *wire) reported() {
	time.Sleep(time.Minute)
	w.sent()
}

// floodPool gives back more buffers than are kept.
func floodPool(t *testing.T, w *wire) {
	var all [][]byte
	for range 3 * small.PoolBytes / 2048 {
		all = append(all, w.s.pool.Get(2048))
	}
	for _, b := range all {
		w.s.pool.Put(b)
	}
	if held := w.s.pool.Held; held > small.PoolBytes || held < small.PoolBytes/2 {
		t.Errorf("%d bytes are kept", held)
	}
}

func floodSockets(t *testing.T, w *wire) {
	var all []*UDPSocket
	for {
		k, err := w.s.NewUDPSocket()
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
	n := k.queue.N.Load()
	if n < 10 || n > 100 {
		t.Errorf("%d datagrams are queued", n)
	}
	other := w.socket("10.9.0.1:10", "")
	w.feed(udpFrom(7, 10, "its own"))
	w.got(other, "its own") // each has a little whatever others do
	k.Errors().SetRecvErr(true)
	for range 200 {
		k.errors.push(QueuedError{Errno: unix.EHOSTUNREACH, Origin: unix.SO_EE_ORIGIN_ICMP, Payload: payload(1000)})
	}
	if n := len(k.errors.queue.Entries); n > 10 {
		t.Errorf("%d errors are queued beside", n)
	}
	w.grewSoFar("OutbandErrorQueueFull")
	buf := make([]byte, 1000)
	k.Errors().Take()
	for range n {
		if _, _, err := k.Recv(buf, unix.MSG_DONTWAIT, NoDeadline); err != nil {
			t.Fatal(err)
		}
	}
	check(t, k.Close())
	check(t, other.Close())
	if left := w.s.receiveMemory.Reserved.Load(); left != 0 {
		t.Errorf("%d bytes are not given back", left)
	}
}

// grewSoFar fails if a counter has not grown since mark.
func (w *wire) grewSoFar(name string) {
	w.t.Helper()
	if w.s.Stats().Get(name) <= w.base.Get(name) {
		w.t.Errorf("%s has not grown", name)
	}
}

func floodSchedule(t *testing.T, w *wire) {
	var all []*UDPSocket
	for range 3 {
		k := w.timed(monotonic)
		k.Errors().SetRecvErr(true)
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
	w.grew("OutbandDropTxTimeClosed", uint64(small.Scheduled))
}

func floodPathMTUs(t *testing.T, w *wire) {
	w.defaultRoute()
	for i := range 3 * small.PathMTUs {
		k := w.socket("", netip.AddrPortFrom(netip.AddrFrom4(ipv4.Addr{198, 51, 100, byte(1 + i)}), 7).String())
		w.send(k, payload(1400))
		f := w.sentIP()
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, icmp.FragmentationRest(600), f[len(f)-1].data[output.IPOffset:]))
		if mtu, err := k.PathMTU(); mtu != 600 {
			t.Errorf("path %d: %d, %v", i, mtu, err)
		}
		check(t, k.Close())
	}
	if n := w.s.routes.PathMTUs(); n > small.PathMTUs {
		t.Errorf("%d paths are remembered", n)
	}
}

func floodTxBuffers(t *testing.T, w *wire) {
	before := len(w.s.out.TxAll)
	var all []*output.Buffer
	for i := range uint64(100) {
		all = append(all, w.s.out.Acquire(i))
	}
	for i, tx := range all {
		tx.Count[counter.UDPOutDatagrams].Add(1)
		w.s.out.Release(tx, uint64(i))
	}
	if n := len(w.s.out.TxAll); n > before+output.Slots+small.TxBuffers {
		t.Errorf("%d transmit buffers are kept", n)
	}
	w.grew("UdpOutDatagrams", 100)
}

// TestLimitsNameWhatThereIs holds the list to the fields and counters that it names.
func TestLimitsNameWhatThereIs(t *testing.T) {
	rooms := map[string]reflect.Type{"Limits": reflect.TypeFor[Limits](), "Config": reflect.TypeFor[Config](),
		"arp.Config": reflect.TypeFor[arp.Config](), "igmp.Config": reflect.TypeFor[igmp.Config](),
		"icmp.LimiterConfig": reflect.TypeFor[icmp.LimiterConfig](), "ipv4.ReassemblyConfig": reflect.TypeFor[ipv4.ReassemblyConfig]()}
	named := make(map[string]bool)
	counters := make(map[string]bool)
	for _, c := range newStack(t, Config{}).Stats().Counters {
		counters[c.Name] = true
	}
	for _, l := range AllLimits() {
		for _, c := range strings.FieldsFunc(l.Counter, func(r rune) bool { return r == ',' || r == ' ' }) {
			if !counters[c] {
				t.Errorf("%s: there is no counter %s", l.Name, c)
			}
		}
		named[l.Name] = true
		if at := strings.LastIndexByte(l.Name, '.'); at > 0 {
			room, ok := rooms[l.Name[:at]]
			if !ok {
				t.Errorf("%s: there is no such configuration", l.Name)
			} else if _, ok := room.FieldByName(l.Name[at+1:]); !ok {
				t.Errorf("%s: there is no such field", l.Name)
			}
		}
	}
	for name, room := range rooms {
		for i := range room.NumField() {
			field := room.Field(i).Name
			limit := name == "Limits" || strings.HasPrefix(field, "Max") || strings.Contains(field, "Bytes") || strings.HasSuffix(field, "QueueLen") || strings.HasSuffix(field, "Thresh")
			if limit && !named[name+"."+field] {
				t.Errorf("%s.%s is not in the list", name, field)
			}
		}
	}
}
