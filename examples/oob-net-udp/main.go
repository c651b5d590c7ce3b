// Oob-net-udp is EVL's demo of that name: one host sends a text every second, the
// other prints what it receives.
//
//	oob-net-udp -i near0 --addr 10.9.0.1/24 -a 10.9.0.1
//	oob-net-udp -i far0 --addr 10.9.0.2/24 -a 10.9.0.1 -S
//
// The receiver prints
//
//	== bound to near0
//	== receiver mode (<= 10.9.0.1:42042)
//	== bound to port 42042
//	= 13 bytes received: Mellow sword!
//
// and the sender
//
//	== bound to far0
//	== sender mode (=> 10.9.0.1:42042)
//
// There, --addr says what the kernel says in EVL: our own address.
package main

import (
	"bytes"
	"errors"
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

// bufferSize is how much of a datagram the receiver takes.
const bufferSize = 16384

type options struct {
	device, host, own, text           string
	port, repeat, iterations          int
	debug, silent, send, receive, all bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("oob-net-udp: ")
	var o options
	flag.StringVar(&o.device, "i", "", "network device")
	flag.StringVar(&o.device, "dev", "", "network device, as -i")
	flag.StringVar(&o.own, "addr", "", "our own address and its network, such as 10.9.0.1/24")
	flag.StringVar(&o.host, "a", "", "address to send to, or to receive on; or broadcast")
	flag.IntVar(&o.port, "p", 42042, "port")
	flag.StringVar(&o.text, "m", "Mellow sword!", "text to send")
	flag.IntVar(&o.repeat, "n", 1, "how often the text is in a datagram")
	flag.IntVar(&o.iterations, "I", 0, "stop after so many datagrams (0: never)")
	flag.BoolVar(&o.debug, "d", false, "print more: addresses, and each datagram that is sent")
	flag.BoolVar(&o.silent, "s", false, "print nothing")
	flag.BoolVar(&o.receive, "R", false, "receive (the default)")
	flag.BoolVar(&o.send, "S", false, "send")
	flag.BoolVar(&o.all, "b", false, "permit broadcasts (SO_BROADCAST), as for an address such as 10.9.0.255")
	flag.Parse()
	if o.send && o.receive {
		log.Fatal("-R and -S do not go together")
	}
	if err := o.run(); err != nil {
		log.Fatal(err)
	}
}

func (o *options) run() error {
	addr := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	shown := "[broadcast]"
	if o.host != "broadcast" {
		var err error
		if addr, err = netip.ParseAddr(o.host); err != nil {
			return fmt.Errorf("-a: %w", err)
		}
		shown = addr.String()
	}
	s, closeStack, err := o.open(o.all || shown == "[broadcast]")
	if err != nil {
		return err
	}
	defer closeStack()
	o.say("== bound to %s", o.device)
	if o.send {
		o.say("== sender mode (=> %s:%d)", shown, o.port)
		return o.sender(s, sockapi.InetAddrPort(netip.AddrPortFrom(addr, uint16(o.port))))
	}
	o.say("== receiver mode (<= %s:%d)", shown, o.port)
	if shown == "[broadcast]" {
		addr = netip.IPv4Unspecified()
	}
	return o.receiver(s, sockapi.InetAddrPort(netip.AddrPortFrom(addr, uint16(o.port))))
}

// open brings up a stack on the device, and a socket that is bound to it.
func (o *options) open(broadcast bool) (s *sockapi.Socket, done func(), err error) {
	own, err := netip.ParsePrefix(o.own)
	if err != nil {
		return nil, nil, fmt.Errorf("-addr: %w", err)
	}
	l, err := tpacket.Open(o.device, tpacket.Options{})
	if err != nil {
		return nil, nil, err
	}
	st, err := stack.New(stack.Config{})
	if err != nil {
		return nil, nil, err
	}
	ifc, err := st.AddLink(l, stack.InterfaceConfig{})
	if err == nil {
		err = ifc.AddAddress(own)
	}
	if err == nil {
		s, err = sockapi.New(st).Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	}
	if err == nil {
		err = s.Setsockopt(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(o.device+"\x00"))
	}
	if err == nil && broadcast {
		err = s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	}
	return s, func() { st.Close() }, err
}

// sender sends the text every second.
func (o *options) sender(s *sockapi.Socket, to sockapi.Sockaddr) error {
	if err := s.Solicit(to, sockapi.EVL_NEIGH_PERMANENT); err != nil {
		return fmt.Errorf("solicit %s: %w", to, err)
	}
	text := bytes.Repeat([]byte(o.text), max(o.repeat, 1))
	m := sockapi.Msghdr{Name: to, Iov: [][]byte{text}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 1; ; i++ {
		n, err := s.OobSendmsg(&m, nil, 0)
		if err != nil {
			return fmt.Errorf("oob_sendmsg: %w", err)
		}
		if o.debug {
			o.say("= %d bytes sent to %s", n, to)
		}
		if i == o.iterations {
			return nil
		}
		<-tick.C
	}
}

// receiver prints what comes.
func (o *options) receiver(s *sockapi.Socket, at sockapi.Sockaddr) error {
	if err := s.Bind(at); err != nil {
		return fmt.Errorf("bind %s: %w", at, err)
	}
	name, err := s.Getsockname()
	if err != nil {
		return err
	}
	o.say("== bound to port %d", name.Port)
	buf := make([]byte, bufferSize)
	for i := 1; ; i++ {
		m := sockapi.Msghdr{Iov: [][]byte{buf}}
		n, err := s.OobRecvmsg(&m, nil, 0)
		if errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		if err != nil {
			return fmt.Errorf("oob_recvmsg: %w", err)
		}
		cut := ""
		if m.Flags&unix.MSG_TRUNC != 0 {
			cut = " (TRUNCATED)"
		}
		if o.debug {
			o.say("= from %s", m.Name)
		}
		o.say("= %d bytes received%s: %s", n, cut, buf[:n])
		if i == o.iterations {
			return nil
		}
	}
}

func (o *options) say(format string, args ...any) {
	if !o.silent {
		fmt.Printf(format+"\n", args...)
	}
}
