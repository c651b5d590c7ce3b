package sockapi

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSocketArguments opens sockets with arguments that are wrong, in-band and
// out-of-band: the errors are the same, and come in the same order.
func TestSocketArguments(t *testing.T) {
	a := newAPI(t)
	for _, domain := range []int{-1, 0, unix.AF_MAX - 1, unix.AF_MAX, unix.AF_MAX + 1, unix.AF_INET} {
		for _, typ := range []int{0, maxType - 1, maxType, maxType + 1, typeMask, typeMask + 1, 1 << 20, unix.SOCK_DGRAM} {
			for _, proto := range []int{-1, maxProtocol - 1, maxProtocol, maxProtocol + 1} {
				k, want := a.Socket(domain, typ, proto)
				if want == nil {
					k.Close()
					continue
				}
				o, got := a.Socket(domain, typ|SOCK_OOB, proto)
				if got == nil {
					o.Close()
				}
				// A domain or a protocol that this kernel has no module for may be one that there is.
				if domain != unix.AF_INET && domain >= 0 && domain < unix.AF_MAX && typ < maxType {
					want = unix.EAFNOSUPPORT
				}
				if !errors.Is(got, want) {
					t.Errorf("domain %d, type %#x, protocol %d: %v, the kernel says %v", domain, typ, proto, got, want)
				}
			}
		}
	}
}

// addresses are of all families, of too few bytes, and of too many.
var addresses = map[string]Sockaddr{
	"none":         {},
	"IPv4":         Inet4([4]byte{127, 0, 0, 1}, 9),
	"of nobody":    Inet4([4]byte{192, 0, 2, 1}, 0),
	"IPv6":         RawSockaddr(unix.AF_INET6, make([]byte, 26)),
	"a path":       Unix("/nowhere"),
	"one byte":     RawSockaddr(unix.AF_INET, make([]byte, 1)),
	"14 bytes":     RawSockaddr(unix.AF_INET, make([]byte, 12)),
	"15 bytes":     RawSockaddr(unix.AF_INET, make([]byte, 13)),
	"of no family": RawSockaddr(99, make([]byte, 14)),
	"unspecified":  RawSockaddr(unix.AF_UNSPEC, make([]byte, 14)),
	"a device":     LinkLayer(1, unix.ETH_P_IP, [6]byte{}),
	"long device":  RawSockaddr(unix.AF_PACKET, []byte{8, 0, 1, 0, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}),
	"short device": RawSockaddr(unix.AF_PACKET, []byte{8, 0, 1, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8}),
}

// TestAddressArguments makes the calls that take an address, or none, of sockets of all
// kinds with addresses of all kinds: the errors are the kernel's.
func TestAddressArguments(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("raw and packet sockets need root")
	}
	a := newAPI(t)
	many := make([][]byte, maxBuffers+1)
	for _, kind := range []struct {
		name               string
		domain, typ, proto int
		sends              bool // and where datagrams go is compared
	}{{"UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, true}, {"raw", unix.AF_INET, unix.SOCK_RAW, 253, false}, {"packet", unix.AF_PACKET, unix.SOCK_DGRAM, 0, false}} {
		calls := map[string]func(s *Socket, to Sockaddr) error{
			"Bind":        func(s *Socket, to Sockaddr) error { return s.Bind(to) },
			"Connect":     func(s *Socket, to Sockaddr) error { return s.Connect(to) },
			"Getpeername": func(s *Socket, _ Sockaddr) error { _, err := s.Getpeername(); return err },
			"Shutdown":    func(s *Socket, _ Sockaddr) error { return s.Shutdown(unix.SHUT_RD) },
			"Listen":      func(s *Socket, _ Sockaddr) error { return s.Listen(1) },
			"Accept":      func(s *Socket, _ Sockaddr) error { _, _, err := s.Accept(0); return err },
			"Accept, flags": func(s *Socket, _ Sockaddr) error {
				_, _, err := s.Accept(1 << 30)
				return err
			},
			"Recvmsg, many": func(s *Socket, _ Sockaddr) error {
				_, err := s.Recvmsg(&Msghdr{Iov: many}, unix.MSG_DONTWAIT)
				return err
			},
			"Recvmmsg, many": func(s *Socket, _ Sockaddr) error {
				_, err := s.Recvmmsg([]Mmsghdr{{Hdr: Msghdr{Iov: many}}}, unix.MSG_DONTWAIT, -1)
				return err
			},
			"Recvmsg, most": func(s *Socket, _ Sockaddr) error {
				_, err := s.Recvmsg(&Msghdr{Iov: many[1:]}, unix.MSG_DONTWAIT)
				return err
			},
		}
		if kind.sends {
			calls["Sendto"] = func(s *Socket, to Sockaddr) error { _, err := s.Sendto([]byte("x"), 0, to); return err }
			calls["Sendmsg, many"] = func(s *Socket, to Sockaddr) error {
				_, err := s.Sendmsg(&Msghdr{Name: addresses["IPv4"], Iov: many}, 0)
				return err
			}
			calls["Sendmsg, most"] = func(s *Socket, to Sockaddr) error {
				_, err := s.Sendmsg(&Msghdr{Name: addresses["IPv4"], Iov: many[1:]}, 0)
				return err
			}
			calls["Sendmmsg"] = func(s *Socket, to Sockaddr) error {
				n, err := s.Sendmmsg([]Mmsghdr{{Hdr: Msghdr{Name: addresses["IPv4"], Iov: [][]byte{nil}}}, {Hdr: Msghdr{Name: to, Iov: [][]byte{nil}}}}, 0)
				return errors.Join(err, fmt.Errorf("%d sent", n))
			}
		}
		for name, call := range calls {
			for what, to := range addresses {
				if what == "of nobody" && (name == "Connect" || name == "Sendto" || name == "Sendmmsg") {
					continue // which is a matter of routes
				}
				var said [2]string
				for i, flag := range []int{0, SOCK_OOB} {
					s, err := a.Socket(kind.domain, kind.typ|flag, kind.proto)
					if err != nil {
						t.Skip(err)
					}
					said[i] = fmt.Sprint(call(s, to))
					s.Close()
				}
				if said[0] != said[1] {
					t.Errorf("%s of a %s socket, address %s: %s, the kernel says %s", name, kind.name, what, said[1], said[0])
				}
			}
		}
	}
}
