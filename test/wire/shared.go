package wire

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/oracle"
)

// A sharedHost is the kernel's host with a stack of ours on its addresses, whose sockets are
// judged.
type sharedHost struct {
	*kernelHost
	ours    *sockapi.API
	markers [2]*sockapi.Socket // what comes there has come behind all else
}

// markerPort is theirs.
const markerPort = 6999

// NewShared returns a host whose sockets are of a stack of ours on the kernel's addresses.
// Changes of its configuration are the kernel's; the stack hears of them a moment later.
func NewShared(t testing.TB, rung claim.Rung) Host {
	t.Helper()
	h := &sharedHost{kernelHost: NewKernel(t).(*kernelHost)}
	h.name = "ours on shared addresses, " + rung.String()
	var s *shared.Host
	h.near.In(t, func() (err error) {
		s, err = shared.Open(shared.Config{Devices: devices[:], Only: rung, Stack: stack.Config{Panics: true}})
		return err
	})
	t.Cleanup(func() { check(t, s.Close()) })
	h.ours = sockapi.New(s.Stack())
	for d := range h.markers {
		k, err := h.ours.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
		check(t, err)
		t.Cleanup(func() { k.Close() })
		check(t, k.Bind(sockapi.Inet4(settleNear(d), markerPort)))
		check(t, k.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience))
		h.markers[d] = k
	}
	h.Settle()
	return h
}

func (h *sharedHost) Socket(_ oracle.Host, domain, typ, proto int) (*sockapi.Socket, error) {
	return h.ours.Socket(domain, typ|sockapi.SOCK_OOB, proto)
}

func (h *sharedHost) Socketpair(_ oracle.Host, domain, typ, proto int) ([2]*sockapi.Socket, error) {
	return h.ours.Socketpair(domain, typ|sockapi.SOCK_OOB, proto)
}

func (h *sharedHost) API(oracle.Host) *sockapi.API { return h.ours }

// Settle waits for the stack, and then for the kernel.
func (h *sharedHost) Settle() {
	h.t.Helper()
	for d, k := range h.markers {
		if k == nil || h.mute[d] {
			continue
		}
		h.Inject(d, UDP(d, ipv4.Fields{Src: settleFar(d), Dst: settleNear(d)}, markerPort, markerPort, []byte("marker")))
		began := time.Now()
		if _, err := k.Recv(make([]byte, 16), 0); err != nil {
			h.t.Fatalf("%s: device %d does not settle: %v after %v", h.name, d, err, time.Since(began))
		}
	}
	h.kernelHost.Settle()
}
