package oracle

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// homeCases are of which interface a host's own traffic came in by (inet_iif in
// Linux): the one that has the address that it went to, unless the sender says
// otherwise. Sockets that are bound to a device go by it, and IP_PKTINFO tells it.
func homeCases() (cases []Case) {
	for _, kind := range homeKinds {
		for _, from := range homeSenders {
			if kind.name == "ping" && from.name != "plain" {
				continue // it is the receiver too
			}
			name := fmt.Sprintf("home/%s/%s", kind.name, from.name)
			cases = append(cases, Case{Name: name, Tops: []Topology{Own}, Run: func(r *Run) {
				for _, at := range homePlaces {
					r.Logf("received %s", at.name)
					for _, dst := range homeTargets(kind.leaves(from.name, at.name)) {
						kind.try(r, from.set, at.set, dst)
					}
				}
			}})
		}
	}
	return append(cases, homeConnectCases()...)
}

// homeTargets are where a sender sends to: the device's address, this host, one that
// is on no interface of it, and loopback's.
func homeTargets(sender string) [][4]byte {
	all := [][4]byte{{10, 9, 0, 1}, {}, {192, 0, 2, 1}, {127, 0, 0, 1}, {127, 1, 2, 3}}
	if strings.Contains(sender, "the device") {
		return all[:3]
	}
	return all
}

// homePlaces are where receivers are.
var homePlaces = []struct {
	name string
	set  func(k *Sock)
}{
	{"by any device", func(*Sock) {}},
	{"by the device", func(k *Sock) { k.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, deviceIndex) }},
	{"by lo", func(k *Sock) { k.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, loIndex) }},
}

// homeSenders are how senders are set. Those that leave by a device are not tried with
// loopback's addresses: see "place/loopback by another device".
var homeSenders = []struct {
	name string
	set  func(k *Sock)
}{
	{"plain", func(*Sock) {}},
	{"bound to the device", homePlaces[1].set},
	{"bound to lo", homePlaces[2].set},
	{"bound to its address", func(k *Sock) { k.Bind(sockapi.Inet4([4]byte{10, 9, 0, 1}, 0)) }},
	{"bound to loopback's", func(k *Sock) { k.Bind(sockapi.Inet4([4]byte{127, 0, 0, 1}, 0)) }},
	{"bound to the device and its address", func(k *Sock) {
		homePlaces[1].set(k)
		k.Bind(sockapi.Inet4([4]byte{10, 9, 0, 1}, 0))
	}},
	{"IP_UNICAST_IF, the device", func(k *Sock) { k.Set(unix.SOL_IP, unix.IP_UNICAST_IF, deviceIndex<<24) }},
	{"IP_UNICAST_IF, lo", func(k *Sock) { k.Set(unix.SOL_IP, unix.IP_UNICAST_IF, loIndex<<24) }},
}

type homeKind struct {
	name string
	try  func(r *Run, from, at func(*Sock), dst [4]byte)
}

// leaves returns how the socket that sends is set.
func (k *homeKind) leaves(from, at string) string {
	if k.name == "ping" {
		return at // it receives what it is answered
	}
	return from
}

var homeKinds = []homeKind{
	{"UDP", func(r *Run, from, at func(*Sock), dst [4]byte) {
		homeTry(r, from, at, r.UDP("a"), r.UDP("b"), sockapi.Inet4([4]byte{}, 7002), sockapi.Inet4(dst, 7002), []byte("x"))
	}},
	{"UDP, in fragments", func(r *Run, from, at func(*Sock), dst [4]byte) {
		if dst == [4]byte{192, 0, 2, 1} {
			return // one that it does not know is asked for by ARP, for seconds
		}
		homeTry(r, from, at, r.UDP("a"), r.UDP("b"), sockapi.Inet4([4]byte{}, 7002), sockapi.Inet4(dst, 7002), Data(65507))
	}},
	{"ping", func(r *Run, from, at func(*Sock), dst [4]byte) {
		a := r.Ping("a")
		homeTry(r, from, at, a, a, sockapi.Inet4([4]byte{}, 7), sockapi.Inet4(dst, 0), echo("x"))
	}},
	{"raw", func(r *Run, from, at func(*Sock), dst [4]byte) {
		const unassigned = 200
		open := func(name string) *Sock { return r.Open(name, Near, unix.AF_INET, unix.SOCK_RAW, unassigned) }
		homeTry(r, from, at, open("a"), open("b"), sockapi.Sockaddr{}, sockapi.Inet4(dst, 0), []byte("x"))
	}},
	{"raw ICMP", func(r *Run, from, at func(*Sock), dst [4]byte) {
		open := func(name string) *Sock { return r.Open(name, Near, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }
		b := []byte{0, 0, 0xff, 0xfe, 0, 0, 0, 1} // an echo reply, which nobody answers
		homeTry(r, from, at, open("a"), open("b"), sockapi.Sockaddr{}, sockapi.Inet4(dst, 0), b)
	}},
}

// homeTry sends from a to dst, and has b receive it, with all that it is told. b is
// bound, after its place was chosen, if local is an address.
func homeTry(r *Run, from, at func(*Sock), a, b *Sock, local, dst sockapi.Sockaddr, p []byte) {
	r.Logf("to %v", dst.AddrPort().Addr())
	if a != b {
		a.quietly(func() { from(a) })
	}
	b.quietly(func() {
		at(b)
		if local.Family != 0 {
			b.Bind(local)
		}
		b.Set(unix.SOL_IP, unix.IP_PKTINFO, 1)
	})
	a.Sendto(p, 0, dst)
	r.Sync()
	b.Recvmsg(128, unix.MSG_DONTWAIT, 1) // a raw socket's datagram has an identification, which is any
	a.Error()
	a.Close()
	if a != b {
		b.Close()
	}
}

// homeConnectCases are of connect: where 0.0.0.0 is, and who hears the error that a
// closed port answers with.
func homeConnectCases() (cases []Case) {
	for _, from := range homeSenders {
		cases = append(cases, Case{Name: "home/connect/" + from.name, Tops: []Topology{Own}, Run: func(r *Run) {
			for _, dst := range homeTargets(from.name) {
				for _, open := range []func(string) *Sock{r.UDP, r.Ping} {
					a, b := open("a"), r.UDP("b")
					a.quietly(func() { from.set(a) })
					b.quietly(func() {
						b.Bind(sockapi.Inet4([4]byte{}, 7002))
						b.Set(unix.SOL_IP, unix.IP_PKTINFO, 1)
					})
					a.Connect(sockapi.Inet4(dst, 7002))
					a.Names()
					a.Get(unix.SOL_IP, unix.IP_MTU, 4)
					a.Send(echo("x"), 0)
					r.Sync()
					b.Recvmsg(128, unix.MSG_DONTWAIT, 100)
					b.Close()
					a.Send(echo("y"), 0)
					r.SyncAnswers()
					a.Recv(2, unix.MSG_DONTWAIT) // the ident is any
					a.Recv(2, unix.MSG_DONTWAIT) // the ident is any
					a.Close()
				}
			}
		}})
	}
	return cases
}
