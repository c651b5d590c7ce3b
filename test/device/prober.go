package device

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// A prober knows whether datagrams get through.
type prober struct{ ends [2]*sockapi.Socket }

// proberPort is its (discard, RFC 863).
const proberPort = 9

// probe returns when datagrams get through both ways: for a while after its device has
// come up the kernel drops what it sends.
func (p *prober) probe(t testing.TB, h *host) {
	t.Helper()
	if p.ends[0] == nil {
		p.open(t, h)
	}
	addrs := [2][4]byte{h.near.Addr.As4(), h.far.Addr.As4()}
	for from := range p.ends {
		to := 1 - from
		eventually(t, h.name+": a datagram from one end to the other", func() bool {
			_, err := p.ends[from].Sendto([]byte{0}, 0, sockapi.Inet4(addrs[to], proberPort))
			if err != nil {
				return false
			}
			var b [1]byte
			_, err = p.ends[to].Recv(b[:], 0)
			return err == nil
		})
	}
}

func (p *prober) open(t testing.TB, h *host) {
	t.Helper()
	for end := range p.ends {
		k, err := h.Socket(oracle.Host(end), unix.AF_INET, unix.SOCK_DGRAM, 0)
		check(t, err)
		t.Cleanup(func() { k.Close() })
		check(t, k.Bind(sockapi.Inet4([4]byte{}, proberPort)))
		check(t, k.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 20*time.Millisecond))
		p.ends[end] = k
	}
}
