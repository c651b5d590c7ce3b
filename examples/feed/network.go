package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// A side is one of the two ways of the feed.
type side struct {
	dev   string
	addr  netip.Prefix   // our own, out-of-band
	group netip.AddrPort // that it is sent to
}

// sideFlags are what publisher and receiver both take.
type sideFlags struct {
	a, b   side
	inBand bool
}

func (f *sideFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.a.dev, "dev", "", "network device of side A")
	fs.StringVar(&f.b.dev, "dev-b", "", "network device of side B, if another")
	fs.TextVar(&f.a.addr, "addr", netip.Prefix{}, "our own `address` and its network on --dev, such as 10.9.0.1/24")
	fs.TextVar(&f.b.addr, "addr-b", netip.Prefix{}, "our own `address` for side B")
	fs.TextVar(&f.a.group, "a", netip.MustParseAddrPort("239.9.0.1:26400"), "`group` and port of side A")
	fs.TextVar(&f.b.group, "b", netip.MustParseAddrPort("239.9.0.2:26400"), "`group` and port of side B")
	fs.BoolVar(&f.inBand, "in-band", false, "use the kernel's sockets: --addr is not needed")
}

// check fills in side B's device, and says what is missing.
func (f *sideFlags) check() error {
	if f.b.dev == "" {
		f.b.dev = f.a.dev
	}
	switch {
	case f.a.dev == "":
		return errors.New("needs a network device: --dev")
	case !f.inBand && !f.a.addr.IsValid():
		return errors.New("needs an address of our own: --addr, or --in-band")
	case f.inBand && (f.a.addr.IsValid() || f.b.addr.IsValid()):
		return errors.New("--addr and --addr-b are our own: not with --in-band")
	case f.a.group == f.b.group:
		return errors.New("the two sides are the same: --a and --b")
	}
	for _, s := range []side{f.a, f.b} {
		if !s.group.Addr().Is4() || !s.group.Addr().IsMulticast() || s.group.Port() == 0 {
			return fmt.Errorf("%s is no IPv4 group with a port", s.group)
		}
	}
	return nil
}

// addLink gives a stack a device and an address. wrap is given the link and returns
// what the stack is to use.
func addLink(st *stack.Stack, s side, wrap func(link.Link) link.Link) error {
	l, err := tpacket.Open(s.dev, tpacket.Options{})
	if err != nil {
		return err
	}
	wrapped := wrap(l)
	ifc, err := st.AddLink(wrapped, stack.InterfaceConfig{})
	if err != nil {
		wrapped.Close()
		return err
	}
	return ifc.AddAddress(s.addr)
}

// open opens a UDP socket: the stack's, or the kernel's.
func open(st *stack.Stack, inBand bool, local sockapi.Sockaddr) (*sockapi.Socket, error) {
	typ := unix.SOCK_DGRAM | sockapi.SOCK_OOB
	if inBand {
		typ = unix.SOCK_DGRAM
	}
	s, err := sockapi.New(st).Socket(unix.AF_INET, typ, 0)
	if err != nil {
		return nil, err
	}
	if err := s.Bind(local); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", local, err)
	}
	return s, nil
}

// mreqn is a struct ip_mreqn (ip(7)) of a group, or the zero Addr, and a device.
func mreqn(group netip.Addr, dev string) ([]byte, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dev, unix.ENODEV)
	}
	b := make([]byte, 12)
	if group.IsValid() {
		copy(b, group.AsSlice())
	}
	binary.NativeEndian.PutUint32(b[8:], uint32(ifi.Index))
	return b, nil
}

// monotonic returns the time by which deadlines count.
func monotonic() int64 { return int64(time.Since(began)) }

var began = time.Now()
