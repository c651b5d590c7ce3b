package metrics

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host returns a host with an address, which has sent one datagram of 4 bytes to itself, and knows a neighbour.
func host(t *testing.T) *sockapi.API {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	end, _ := pipe.New(pipe.Options{})
	i, err := st.AddLink(end, stack.InterfaceConfig{})
	check(t, err)
	check(t, i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")))
	check(t, i.SetNeighbour(netip.MustParseAddr("10.9.0.2"), link.MAC{2, 5: 1}, arp.Permanent))
	a := sockapi.New(st)
	s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	check(t, err)
	check(t, s.Bind(sockapi.Inet4([4]byte{127, 0, 0, 1}, 7)))
	_, err = s.Sendto([]byte("four"), 0, sockapi.Inet4([4]byte{127, 0, 0, 1}, 7))
	check(t, err)
	_, _, err = s.Recvfrom(make([]byte, 8), 0)
	check(t, err)
	return a
}

// Every counter of a stack has a name of its own and says what it counts.
func TestAllHaveHelp(t *testing.T) {
	names, form := map[string]string{}, regexp.MustCompile(`^outband_[a-z0-9]+(_[a-z0-9]+)*_total$`)
	counters := host(t).Stack().Stats().Counters
	known := map[string]bool{}
	for _, c := range counters {
		known[c.Name] = true
		name := counterName(c.Name)
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s are both %s", c.Name, other, name)
		}
		names[name] = c.Name
		if !form.MatchString(name) {
			t.Errorf("%s is %q", c.Name, name)
		}
		if h := help(c.Name); !strings.HasSuffix(h, ".") || strings.Contains(h, "\n") {
			t.Errorf("%s: help is %q", c.Name, h)
		}
	}
	for name := range helps {
		if !known[name] {
			t.Errorf("%s has help, and is no counter", name)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"UdpInDatagrams":             "outband_udp_in_datagrams_total",
		"IpExtInOctets":              "outband_ip_in_bytes_total",
		"IpReasmOKs":                 "outband_ip_reasm_oks_total",
		"OutbandDropICMPUnvalidated": "outband_drop_icmp_unvalidated_total",
		"OutbandDropVLAN":            "outband_drop_vlan_total",
		"LinkRxRingFull":             "outband_link_rx_ring_full_total",
		"OutbandLoopbackQueueFull":   "outband_loopback_queue_full_total",
	} {
		if got := counterName(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// A claimed host is one that says what it does beside the kernel.
type claimed struct {
	Source
	why error
}

func (c claimed) Status() (shared.Status, bool) {
	return shared.Status{Rung: "tcx", Holders: 3, SentInBand: 4,
		Devices: []shared.DeviceStatus{{Name: "eth1", Index: 2, ClaimedIn: 5, FragmentsPassed: 6, HolderIn: 7}}}, c.why == nil
}

func (c claimed) Why() error { return c.why }

// The page has each metric once, with its help and type before its samples, of all hosts.
func TestPage(t *testing.T) {
	h := host(t)
	answer := httptest.NewRecorder()
	Hosts{"a": h, "b\"\n\\": claimed{Source: h}, "c": claimed{h, errors.New("none")}}.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if got := answer.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	text := answer.Body.String()
	for _, want := range []string{
		"# HELP outband_udp_in_datagrams_total UDP datagrams given to sockets.\n# TYPE outband_udp_in_datagrams_total counter\n" +
			"outband_udp_in_datagrams_total{host=\"a\"} 1\noutband_udp_in_datagrams_total{host=\"b\\\"\\n\\\\\"} 1\n",
		"# TYPE outband_link_up gauge\noutband_link_up{host=\"a\",device=\"lo\"} 1\n",
		"\noutband_neighbours{host=\"a\",state=\"permanent\"} 1\n", "\noutband_sockets{host=\"a\"} 1\n",
		"\noutband_in_band{host=\"c\"} 1\n", "\noutband_claim_info{host=\"b\\\"\\n\\\\\",rung=\"tcx\"} 1\n", "outband_held_ports{host=\"b\\\"\\n\\\\\"} 3\n",
		"outband_shared_sent_in_band_total{host=\"b\\\"\\n\\\\\"} 4\n", "\noutband_claimed_in_total{host=\"b\\\"\\n\\\\\",device=\"eth1\",index=\"2\"} 5\n",
		"outband_claim_fragments_passed_total{host=\"b\\\"\\n\\\\\",device=\"eth1\",index=\"2\"} 6\n",
		"outband_holder_in_total{host=\"b\\\"\\n\\\\\",device=\"eth1\",index=\"2\"} 7\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "# TYPE outband_udp_in_datagrams_total"); n != 1 {
		t.Errorf("a metric is there %d times", n)
	}
	if strings.Contains(text, "claim_info{host=\"c\"") || strings.Contains(text, "in_band{host=\"a\"") {
		t.Error("a host has what it has not")
	}
}

// A program's only host has no label.
func TestOnlyHost(t *testing.T) {
	var b strings.Builder
	n, err := Hosts{"": host(t)}.WriteTo(&b)
	if err != nil || int(n) != b.Len() || !strings.Contains(b.String(), "\noutband_udp_out_datagrams_total 1\n") {
		t.Errorf("%d, %v:\n%s", n, err, &b)
	}
}

func TestMethods(t *testing.T) {
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405} {
		answer := httptest.NewRecorder()
		Hosts{}.ServeHTTP(answer, httptest.NewRequest(method, "/metrics", nil))
		if answer.Code != want {
			t.Errorf("%s: %d, want %d", method, answer.Code, want)
		}
	}
}

func TestVar(t *testing.T) {
	var got map[string]uint64
	check(t, json.Unmarshal([]byte(Var(host(t)).String()), &got))
	if got["UdpInDatagrams"] != 1 || got["UdpOutDatagrams"] != 1 {
		t.Errorf("%v", got)
	}
}
