package wireguard

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/outband/outband/sockapi"
)

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// A peer is an end of a tunnel, with TCP inside.
type peer struct {
	dev *device.Device
	net *netstack.Net
	key *ecdh.PrivateKey
}

// newPeer makes an end of a tunnel whose datagrams go by a host's port 51820.
func newPeer(t *testing.T, api *sockapi.API, inside string) *peer {
	t.Helper()
	tun, n, err := netstack.CreateNetTUN([]netip.Addr{netip.MustParseAddr(inside)}, nil, 1420)
	check(t, err)
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	check(t, err)
	dev := device.NewDevice(tun, NewBind(api), device.NewLogger(device.LogLevelError, inside+" "))
	t.Cleanup(dev.Close)
	check(t, dev.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=51820\n", hex.EncodeToString(key.Bytes()))))
	check(t, dev.Up())
	return &peer{dev, n, key}
}

// meet tells an end of the tunnel of the other.
func (p *peer) meet(t *testing.T, other *peer, endpoint string) {
	t.Helper()
	check(t, p.dev.IpcSet(fmt.Sprintf("public_key=%s\nendpoint=%s\nallowed_ip=0.0.0.0/0\n", hex.EncodeToString(other.key.PublicKey().Bytes()), endpoint)))
}

// TestTunnel sends a stream of TCP there and back, inside of WireGuard, inside of our UDP.
func TestTunnel(t *testing.T) {
	near, far := hosts(t)
	a, b := newPeer(t, near, "192.168.4.1"), newPeer(t, far, "192.168.4.2")
	a.meet(t, b, "10.9.0.2:51820")
	b.meet(t, a, "10.9.0.1:51820")
	l, err := b.net.ListenTCPAddrPort(netip.MustParseAddrPort("192.168.4.2:80"))
	check(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c)
	}()
	c, err := a.net.DialContextTCPAddrPort(t.Context(), netip.MustParseAddrPort("192.168.4.2:80"))
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(time.Minute)))
	data := make([]byte, 1<<20)
	_, _ = mrand.NewChaCha8([32]byte{}).Read(data)
	go func() { c.Write(data); c.CloseWrite() }()
	back, err := io.ReadAll(c)
	check(t, err)
	if !bytes.Equal(back, data) {
		t.Errorf("%d bytes came back, which are not what was sent", len(back))
	}
	if s := wire(t, near).Stats(); s.TxFrames == 0 || s.TxBytes < uint64(len(data)) {
		t.Errorf("by the wire: %+v", s)
	}
}
