package gonet

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/outband/outband/adapters/wireguard"
)

// A tunnel is an end of a tunnel of WireGuard's, with TCP of gVisor's inside.
type tunnel struct {
	dev *device.Device
	net *netstack.Net
	key *ecdh.PrivateKey
}

// An inBandBind is wireguard-go's own Bind, whose sockets are a host's.
type inBandBind struct {
	conn.Bind
	h *host
}

// Open opens the sockets.
func (b inBandBind) Open(port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	err = b.h.do(func() (err error) { fns, actual, err = b.Bind.Open(port); return err })
	return fns, actual, err
}

// bind returns what WireGuard's datagrams go by.
func (h *host) bind() conn.Bind {
	if h.ours() {
		return wireguard.NewBind(h)
	}
	return inBandBind{conn.NewStdNetBind(), h}
}

// newTunnel makes an end of a tunnel at a host's port 51820.
func newTunnel(t testing.TB, h *host, inside string) *tunnel {
	t.Helper()
	tun, n, err := netstack.CreateNetTUN([]netip.Addr{netip.MustParseAddr(inside)}, nil, 1420)
	check(t, err)
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	check(t, err)
	dev := device.NewDevice(tun, h.bind(), device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(dev.Close)
	check(t, dev.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=51820\n", hex.EncodeToString(key.Bytes()))))
	check(t, dev.Up())
	return &tunnel{dev, n, key}
}

// meet tells an end of the other, at a host.
func (e *tunnel) meet(t testing.TB, other *tunnel, at *host) {
	t.Helper()
	check(t, e.dev.IpcSet(fmt.Sprintf("public_key=%s\nendpoint=%v\nallowed_ip=0.0.0.0/0\n", hex.EncodeToString(other.key.PublicKey().Bytes()), at.port(51820))))
}

// tunnelBetween makes a tunnel between two hosts, 192.168.4.1 and 192.168.4.2 inside.
func tunnelBetween(t testing.TB, client, server *host) (a, b *tunnel) {
	t.Helper()
	a, b = newTunnel(t, client, "192.168.4.1"), newTunnel(t, server, "192.168.4.2")
	a.meet(t, b, server)
	b.meet(t, a, client)
	return a, b
}

// inside is where the server is in the tunnel.
var inside = netip.MustParseAddrPort("192.168.4.2:80")

// runWireGuard sends streams of TCP there and back through a tunnel.
func runWireGuard(t *testing.T, w *world, client, server *host) {
	a, b := tunnelBetween(t, client, server)
	l, err := b.net.ListenTCPAddrPort(inside)
	check(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	data := payload[:size/4]
	w.rounds(t, func(int) {
		c, err := a.net.DialContextTCPAddrPort(t.Context(), inside)
		check(t, err)
		defer c.Close()
		check(t, c.SetDeadline(time.Now().Add(patience)))
		go func() { c.Write(data); c.CloseWrite() }()
		back, err := io.ReadAll(c)
		check(t, err)
		if !bytes.Equal(back, data) {
			t.Errorf("%d bytes came back, which are not what was sent", len(back))
		}
	})
}
