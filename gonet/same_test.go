package gonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// udpMethods are the methods of *net.UDPConn that a UDPConn has too.
type udpMethods interface {
	net.Conn
	net.PacketConn
	ReadFromUDP(b []byte) (int, *net.UDPAddr, error)
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteToUDP(b []byte, addr *net.UDPAddr) (int, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// TestMethodsOfUDPConn finds what package net's type has and ours has not.
func TestMethodsOfUDPConn(t *testing.T) {
	not := map[string]bool{"SyscallConn": true, "File": true,
		"MultipathTCP": true} // no descriptor of the kernel's
	theirs, ours := reflect.TypeFor[*net.UDPConn](), reflect.TypeFor[*UDPConn]()
	for i := range theirs.NumMethod() {
		m := theirs.Method(i)
		o, ok := ours.MethodByName(m.Name)
		switch {
		case ok == not[m.Name]:
			t.Errorf("%s: there %v", m.Name, ok)
		case ok:
			for j := 1; j < m.Type.NumIn(); j++ {
				if m.Type.In(j) != o.Type.In(j) {
					t.Errorf("%s: argument %d is %s, want %s", m.Name, j, o.Type.In(j), m.Type.In(j))
				}
			}
			for j := range m.Type.NumOut() {
				if m.Type.Out(j) != o.Type.Out(j) {
					t.Errorf("%s: result %d is %s, want %s", m.Name, j, o.Type.Out(j), m.Type.Out(j))
				}
			}
		}
	}
}

// A world is package net, or a Net.
type world struct {
	listenPacket func(network, address string) (net.PacketConn, error)
	listenUDP    func(network string, laddr *net.UDPAddr) (udpMethods, error)
	listenGroup  func(network string, ifi *net.Interface, gaddr *net.UDPAddr) (udpMethods, error)
	dial         func(ctx context.Context, network, address string, local net.Addr) (net.Conn, error)
	dialUDP      func(network string, laddr, raddr *net.UDPAddr) (udpMethods, error)
	none         udpMethods // a connection that nobody has opened
}

// some returns a connection as an interface, and none with an error.
func some[T udpMethods](c T, err error) (udpMethods, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

var packageNet = world{
	listenPacket: net.ListenPacket,
	listenUDP: func(network string, laddr *net.UDPAddr) (udpMethods, error) {
		return some(net.ListenUDP(network, laddr))
	},
	listenGroup: func(network string, ifi *net.Interface, gaddr *net.UDPAddr) (udpMethods, error) {
		return some(net.ListenMulticastUDP(network, ifi, gaddr))
	},
	dial: func(ctx context.Context, network, address string, local net.Addr) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: local}).DialContext(ctx, network, address)
	},
	dialUDP: func(network string, laddr, raddr *net.UDPAddr) (udpMethods, error) {
		return some(net.DialUDP(network, laddr, raddr))
	},
	none: new(net.UDPConn),
}

func ourWorld(n *Net) world {
	return world{
		listenPacket: n.ListenPacket,
		listenUDP: func(network string, laddr *net.UDPAddr) (udpMethods, error) {
			return some(n.ListenUDP(network, laddr))
		},
		listenGroup: func(network string, ifi *net.Interface, gaddr *net.UDPAddr) (udpMethods, error) {
			return some(n.ListenMulticastUDP(network, ifi, gaddr))
		},
		dial: func(ctx context.Context, network, address string, local net.Addr) (net.Conn, error) {
			return (&Dialer{Net: n, LocalAddr: local}).DialContext(ctx, network, address)
		},
		dialUDP: func(network string, laddr, raddr *net.UDPAddr) (udpMethods, error) {
			return some(n.DialUDP(network, laddr, raddr))
		},
		none: new(UDPConn),
	}
}

// A log is what a script found out: a line each. Ports that the system chose have no number.
type log struct {
	t     *testing.T
	lines []string
}

var chosenPort = regexp.MustCompile(`:[1-9][0-9]{4}\b`)

func (l *log) add(format string, args ...any) {
	line := chosenPort.ReplaceAllString(fmt.Sprintf(format, args...), ":PORT")
	for theirs, ours := range unexported {
		line = strings.ReplaceAll(line, ours, theirs)
	}
	l.lines = append(l.lines, line)
}

// unexported are types that package net does not export, with what stands for them here.
var unexported = map[string]string{
	"net.addrPortUDPAddr": "gonet.addrPortAddr",
	"net.canceledError":   "gonet.canceledError",
	"net.timeoutError":    "gonet.timeoutError",
}

// describe says everything of an error: type and text of each layer, what it may be taken for.
func describe(err error) string {
	if err == nil {
		return "nil"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", err.Error())
	for _, is := range []error{net.ErrClosed, net.ErrWriteToConnected, os.ErrDeadlineExceeded, context.Canceled, unix.ECONNREFUSED} {
		if errors.Is(err, is) {
			fmt.Fprintf(&b, " is %q", is)
		}
	}
	if e, ok := err.(net.Error); ok {
		//lint:ignore SA1019 programs ask for it
		fmt.Fprintf(&b, " timeout %v temporary %v", e.Timeout(), e.Temporary())
	}
	for err != nil {
		switch e := err.(type) {
		case *net.OpError:
			fmt.Fprintf(&b, " {%T %s %s from %T to %T}", e, e.Op, e.Net, e.Source, e.Addr)
		case *os.SyscallError:
			fmt.Fprintf(&b, " {%T %s}", e, e.Syscall)
		default:
			fmt.Fprintf(&b, " {%T}", e)
		}
		err = errors.Unwrap(err)
	}
	return b.String()
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// theSame runs a script in both worlds and compares what it found out.
func theSame(t *testing.T, script func(l *log, w world)) {
	t.Helper()
	theirs, ours := &log{t: t}, &log{t: t}
	script(theirs, packageNet)
	script(ours, ourWorld(lone(t)))
	for i := range max(len(theirs.lines), len(ours.lines)) {
		a, b := "nothing", "nothing"
		if i < len(theirs.lines) {
			a = theirs.lines[i]
		}
		if i < len(ours.lines) {
			b = ours.lines[i]
		}
		if a != b {
			t.Errorf("package net: %s\nours:        %s", a, b)
		}
	}
	if len(theirs.lines) == 0 {
		t.Error("nothing was compared")
	}
}

var localhost = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}

// listen returns a connection at 127.0.0.1.
func (l *log) listen(w world) udpMethods {
	l.t.Helper()
	c, err := w.listenUDP("udp4", localhost)
	check(l.t, err)
	l.t.Cleanup(func() { c.Close() })
	return c
}

// dialTo returns a connection to a port of 127.0.0.1.
func (l *log) dialTo(w world, to net.Addr) udpMethods {
	l.t.Helper()
	c, err := w.dialUDP("udp4", nil, to.(*net.UDPAddr))
	check(l.t, err)
	l.t.Cleanup(func() { c.Close() })
	return c
}

// reads reads by each method.
func (l *log) reads(c udpMethods, room int) {
	b := make([]byte, room)
	n, err := c.Read(b)
	l.add("Read: %d %s", n, describe(err))
	n, addr, err := c.ReadFrom(b)
	l.add("ReadFrom: %d %T %v %s", n, addr, addr, describe(err))
	n, udp, err := c.ReadFromUDP(b)
	l.add("ReadFromUDP: %d %v %s", n, udp, describe(err))
	if udp != nil {
		l.add("%s, an IP of %d bytes", udp.Network(), len(udp.IP))
	}
	n, ap, err := c.ReadFromUDPAddrPort(b)
	l.add("ReadFromUDPAddrPort: %d %v %s", n, ap, describe(err))
	n, oobn, flags, udp, err := c.ReadMsgUDP(b, nil)
	l.add("ReadMsgUDP: %d %d %#x %v %s", n, oobn, flags, udp, describe(err))
	if udp != nil {
		l.add("an IP of %d bytes", len(udp.IP))
	}
	n, oobn, flags, ap, err = c.ReadMsgUDPAddrPort(b, make([]byte, 0, 8))
	l.add("ReadMsgUDPAddrPort: %d %d %#x %v %s", n, oobn, flags, ap, describe(err))
}

// readMethods is how many reads reads makes.
const readMethods = 6

// writesTo writes to an address by each method that takes one.
func (l *log) writesTo(c udpMethods, b []byte, to *net.UDPAddr) {
	n, err := c.WriteTo(b, to)
	l.add("WriteTo: %d %s", n, describe(err))
	n, err = c.WriteToUDP(b, to)
	l.add("WriteToUDP: %d %s", n, describe(err))
	n, err = c.WriteToUDPAddrPort(b, to.AddrPort())
	l.add("WriteToUDPAddrPort: %d %s", n, describe(err))
	n, oobn, err := c.WriteMsgUDP(b, nil, to)
	l.add("WriteMsgUDP: %d %d %s", n, oobn, describe(err))
	n, oobn, err = c.WriteMsgUDPAddrPort(b, nil, to.AddrPort())
	l.add("WriteMsgUDPAddrPort: %d %d %s", n, oobn, describe(err))
}

// writes writes to the peer by each method that does.
func (l *log) writes(c udpMethods, b []byte) {
	n, err := c.Write(b)
	l.add("Write: %d %s", n, describe(err))
	n, oobn, err := c.WriteMsgUDP(b, nil, nil)
	l.add("WriteMsgUDP to nobody: %d %d %s", n, oobn, describe(err))
	n, oobn, err = c.WriteMsgUDPAddrPort(b, nil, netip.AddrPort{})
	l.add("WriteMsgUDPAddrPort to nobody: %d %d %s", n, oobn, describe(err))
}

// sets calls what sets something.
func (l *log) sets(c udpMethods) {
	l.add("SetDeadline: %s", describe(c.SetDeadline(time.Time{})))
	l.add("SetReadDeadline: %s", describe(c.SetReadDeadline(past)))
	l.add("SetWriteDeadline: %s", describe(c.SetWriteDeadline(past)))
	l.add("SetReadBuffer: %s", describe(c.SetReadBuffer(10000)))
	l.add("SetWriteBuffer: %s", describe(c.SetWriteBuffer(10000)))
}
