// Msgclient sends a datagram that is gathered from several buffers, with a time to
// live and a type of service of its own, to a msgserver, and prints the answer. Then
// it sends one to a port on which nobody listens, and prints the ICMP error that
// comes back, from the socket's error queue.
//
//	msgclient --dev far0 --addr 10.9.0.2/24 --to 10.9.0.1:4000 hello
//
// prints
//
//	sent 19 bytes from 3 buffers
//	answer from 10.9.0.1:4000: got: message: hello, end
//	ICMP from 10.9.0.1: type 3, code 3: connection refused
//	  about 12 bytes to 10.9.0.1:9: anybody here
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// patience is how long an answer may take.
const patience = 5 * time.Second

func main() {
	dev := flag.String("dev", "", "network device")
	addr := flag.String("addr", "", "our own address and its network, such as 10.9.0.2/24")
	to := flag.String("to", "", "the server's address and port")
	closed := flag.Int("closed", 9, "a port of the server's host on which nobody listens")
	flag.Parse()

	st := must(stack.New(stack.Config{}))
	defer st.Close()
	ifc := must(st.AddLink(must(tpacket.Open(*dev, tpacket.Options{})), stack.InterfaceConfig{}))
	check(ifc.AddAddress(must(netip.ParsePrefix(*addr))))
	api := sockapi.New(st)
	s := must(api.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0))
	check(s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience))
	server := must(netip.ParseAddrPort(*to))

	ask(s, sockapi.InetAddrPort(server), flag.Arg(0))
	knock(api, s, sockapi.InetAddrPort(netip.AddrPortFrom(server.Addr(), uint16(*closed))))
}

// ask sends a message and prints the answer.
func ask(s *sockapi.Socket, server sockapi.Sockaddr, text string) {
	var control []byte
	control = sockapi.AppendCmsgInt(control, unix.IPPROTO_IP, unix.IP_TTL, 9)
	control = sockapi.AppendCmsgInt(control, unix.IPPROTO_IP, unix.IP_TOS, 0x10)
	m := sockapi.Msghdr{
		Name:    server,
		Iov:     [][]byte{[]byte("message: "), []byte(text), []byte(", end")},
		Control: control,
	}
	fmt.Printf("sent %d bytes from %d buffers\n", must(s.Sendmsg(&m, 0)), len(m.Iov))
	buf := make([]byte, 1500)
	n, from, err := s.Recvfrom(buf, 0)
	check(err)
	fmt.Printf("answer from %s: %s\n", from, buf[:n])
}

// knock sends to a port where nobody is, and prints what the error queue says.
func knock(api *sockapi.API, s *sockapi.Socket, to sockapi.Sockaddr) {
	check(s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_RECVERR, 1))
	must(s.Sendto([]byte("anybody here"), 0, to))
	set := []sockapi.PollFd{{Socket: s}} // errors are reported unasked
	if must(api.Poll(set, patience)) == 0 {
		log.Fatal("no ICMP error came")
	}
	buf, control := make([]byte, 1500), make([]byte, 256)
	m := sockapi.Msghdr{Iov: [][]byte{buf}, Control: control}
	n := must(s.Recvmsg(&m, unix.MSG_ERRQUEUE))
	for c, rest, ok := sockapi.NextCmsg(control[:m.ControlLen]); ok; c, rest, ok = sockapi.NextCmsg(rest) {
		if c.Level != unix.IPPROTO_IP || c.Type != unix.IP_RECVERR {
			continue
		}
		// struct sock_extended_err, and the sender of the ICMP message behind it.
		errno, kind, code := unix.Errno(binary.NativeEndian.Uint32(c.Data)), c.Data[5], c.Data[6]
		offender := netip.AddrFrom4([4]byte(c.Data[20:24]))
		fmt.Printf("ICMP from %s: type %d, code %d: %v\n", offender, kind, code, errno)
	}
	fmt.Printf("  about %d bytes to %s: %s\n", n, m.Name, buf[:n])
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
