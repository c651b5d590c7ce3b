package pion

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// TestInterfaces wants the stack's interfaces, by each way, with their addresses.
func TestInterfaces(t *testing.T) {
	near, _ := hosts(t)
	n := New(near)
	all, err := n.Interfaces()
	check(t, err)
	var texts []string
	for _, i := range all {
		byName, err := n.InterfaceByName(i.Name)
		check(t, err)
		byIndex, err := n.InterfaceByIndex(i.Index)
		check(t, err)
		if byName.Index != i.Index || byIndex.Name != i.Name {
			t.Errorf("%+v by its name, %+v by its index; want %+v", byName, byIndex, i)
		}
		addrs, err := i.Addrs()
		check(t, err)
		for _, a := range addrs {
			texts = append(texts, a.String()+" "+i.Flags.String())
		}
	}
	got := strings.Join(texts, ", ")
	if want := "127.0.0.1/8 up|loopback|running, 10.9.0.1/24 up|broadcast|multicast|running"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	_, err = n.InterfaceByName("nothing")
	_, err2 := n.InterfaceByIndex(99)
	if !errors.Is(err, transport.ErrInterfaceNotFound) || !errors.Is(err2, transport.ErrInterfaceNotFound) {
		t.Errorf("%v, %v", err, err2)
	}
}

// TestConnections opens connections by each call, and sends a datagram by each.
func TestConnections(t *testing.T) {
	near, far := hosts(t)
	n := New(near)
	echo, err := New(far).ListenUDP("udp4", &net.UDPAddr{Port: 7})
	check(t, err)
	defer echo.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			echo.WriteTo(b[:n], from)
		}
	}()
	to := &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 7}
	local := &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1), Port: 4000}
	for name, open := range map[string]func() (net.PacketConn, error){
		"ListenPacket": func() (net.PacketConn, error) { return n.ListenPacket("udp4", ":4000") },
		"ListenUDP":    func() (net.PacketConn, error) { return n.ListenUDP("udp4", local) },
		"DialUDP":      func() (net.PacketConn, error) { return n.DialUDP("udp4", local, to) },
		"ListenConfig": func() (net.PacketConn, error) {
			return n.CreateListenConfig(&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "10.9.0.1:4000")
		},
		"Dialer": func() (net.PacketConn, error) {
			c, err := n.CreateDialer(&net.Dialer{LocalAddr: local}).Dial("udp", "10.9.0.2:7")
			return c.(net.PacketConn), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := open()
			check(t, err)
			defer c.Close()
			check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			if udp := c.(net.Conn); udp.RemoteAddr() != nil {
				_, err = udp.Write([]byte(name))
			} else {
				_, err = c.WriteTo([]byte(name), to)
			}
			check(t, err)
			b := make([]byte, 100)
			m, from, err := c.ReadFrom(b)
			check(t, err)
			if from.String() != "10.9.0.2:7" || !bytes.Equal(b[:m], []byte(name)) || c.LocalAddr().(*net.UDPAddr).Port != 4000 {
				t.Errorf("%q from %v at %v", b[:m], from, c.LocalAddr())
			}
		})
	}
}

// calls are each call that may be refused.
func calls(n *Net, control func(string, string, syscall.RawConn) error) map[string]func(network, address string) error {
	return map[string]func(network, address string) error{
		"ListenPacket": func(network, address string) error { return ended(n.ListenPacket(network, address)) },
		"Dial":         func(network, address string) error { return ended(n.Dial(network, address)) },
		"Dialer": func(network, address string) error {
			return ended(n.CreateDialer(&net.Dialer{Control: control}).Dial(network, address))
		},
		"ListenConfig": func(network, address string) error {
			return ended(n.CreateListenConfig(&net.ListenConfig{Control: control}).ListenPacket(context.Background(), network, address))
		},
		"Listen": func(network, address string) error {
			return ended(n.CreateListenConfig(&net.ListenConfig{Control: control}).Listen(context.Background(), network, address))
		},
		"ListenUDP": func(network, _ string) error { return ended(n.ListenUDP(network, &net.UDPAddr{})) },
		"DialUDP":   func(network, _ string) error { return ended(n.DialUDP(network, nil, &net.UDPAddr{Port: 9})) },
		"ListenTCP": func(network, _ string) error {
			return ended(n.ListenTCP(network, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
		},
		"DialTCP": func(network, address string) error {
			to, err := net.ResolveTCPAddr("tcp", address)
			if err != nil {
				return err
			}
			return ended(n.DialTCP(network, nil, to))
		},
	}
}

// ended closes what was opened.
func ended[C interface{ Close() error }](c C, err error) error {
	if err == nil {
		err = c.Close()
	}
	return err
}

// TestRefused wants errors of what the stack has not, and never a connection that is nil in an
// interface that is not.
func TestRefused(t *testing.T) {
	near, _ := hosts(t)
	n := New(near)
	refused := func(string, string, syscall.RawConn) error { t.Error("Control is called"); return nil }
	for name, call := range calls(n, refused) {
		network := "tcp4"
		if name == "ListenPacket" || strings.HasSuffix(name, "UDP") {
			network = "udp6"
		}
		err := call(network, "127.0.0.1:9")
		if e := new(net.OpError); !errors.As(err, &e) || e.Net != network || (network == "tcp4") != errors.Is(err, transport.ErrNotSupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all := calls(n, refused)
	for _, name := range []string{"Dialer", "ListenConfig"} {
		if err := all[name]("udp4", "127.0.0.1:9"); !errors.Is(err, transport.ErrNotSupported) {
			t.Errorf("%s with Control: %v", name, err)
		}
	}
	d := n.CreateDialer(&net.Dialer{ControlContext: func(context.Context, string, string, syscall.RawConn) error { return nil }})
	if err := ended(d.Dial("udp4", "127.0.0.1:9")); !errors.Is(err, transport.ErrNotSupported) {
		t.Errorf("Dialer with ControlContext: %v", err)
	}
	if _, err := n.ResolveTCPAddr("tcp4", "127.0.0.1:9"); !errors.Is(err, transport.ErrNotSupported) {
		t.Errorf("ResolveTCPAddr: %v", err)
	}
}

// TestTCP has the kernel's TCP beside the stack's UDP.
func TestTCP(t *testing.T) {
	near, _ := hosts(t)
	n := New(near)
	in, err := stdnet.NewNet()
	check(t, err)
	n.TCP = in
	l, err := n.CreateListenConfig(&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	all := calls(n, nil)
	for _, name := range []string{"Dial", "Dialer", "Listen", "ListenTCP", "DialTCP"} {
		address := l.Addr().String()
		if name == "Listen" {
			address = "127.0.0.1:0"
		}
		if err := all[name]("tcp4", address); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err := n.ResolveTCPAddr("tcp4", "127.0.0.1:9"); err != nil || a.Port != 9 {
		t.Errorf("%v, %v", a, err)
	}
}

// TestResolve wants the addresses that package net finds.
func TestResolve(t *testing.T) {
	near, _ := hosts(t)
	n := New(near)
	udp, err := n.ResolveUDPAddr("udp4", "10.9.0.2:7")
	check(t, err)
	ip, err := n.ResolveIPAddr("ip4", "10.9.0.2")
	check(t, err)
	if udp.String() != "10.9.0.2:7" || ip.String() != "10.9.0.2" {
		t.Errorf("%v, %v", udp, ip)
	}
}

// TestDeadlines has what CreateDialer was told hold.
func TestDeadlines(t *testing.T) {
	near, _ := hosts(t)
	_, err := New(near).CreateDialer(&net.Dialer{Deadline: time.Unix(1, 0)}).Dial("udp4", "10.9.0.2:7")
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Error(err)
	}
}
