package gonet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outband/outband/gonet"
)

var _ quic.OOBCapablePacketConn = (*gonet.SyscallUDPConn)(nil)

// payload is what it carries.
var payload = func() []byte {
	b := make([]byte, size)
	_, _ = mrand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// tlsConfigs returns what a server and its client need.
func tlsConfigs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"far"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: []string{"test"}}
	return server, &tls.Config{RootCAs: roots, ServerName: "far", NextProtos: []string{"test"}}
}

// connections are the ways to give quic-go a connection: without SyscallConn it sends one
// datagram by a call, and with it several, and marks them for congestion.
var connections = []struct {
	name string
	of   func(c *gonet.UDPConn) (net.PacketConn, error)
}{
	{"plain", func(c *gonet.UDPConn) (net.PacketConn, error) { return c, nil }},
	{"batches", func(c *gonet.UDPConn) (net.PacketConn, error) { return gonet.WithSyscallConn(c) }},
}

// transport opens a connection and gives it to quic-go.
func transport(t *testing.T, n *gonet.Net, laddr *net.UDPAddr, of func(*gonet.UDPConn) (net.PacketConn, error)) *quic.Transport {
	t.Helper()
	c, err := n.ListenUDP("udp", laddr)
	check(t, err)
	pc, err := of(c)
	check(t, err)
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() { tr.Close(); c.Close() })
	return tr
}

// TestQUIC sends a stream there and back.
func TestQUIC(t *testing.T) {
	for _, way := range connections {
		t.Run(way.name, func(t *testing.T) {
			onWires(t, func(t *testing.T, near, far *gonet.Net) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				serverTLS, clientTLS := tlsConfigs(t)
				l, err := transport(t, far, &net.UDPAddr{Port: 4433}, way.of).Listen(serverTLS, nil)
				check(t, err)
				served := make(chan error, 1)
				go func() { served <- echo(ctx, l) }()
				c, err := transport(t, near, nil, way.of).Dial(ctx, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 4433}, clientTLS, nil)
				check(t, err)
				s, err := c.OpenStreamSync(ctx)
				check(t, err)
				go func() {
					s.Write(payload)
					s.Close()
				}()
				back, err := io.ReadAll(s)
				check(t, err)
				if !bytes.Equal(back, payload) {
					t.Errorf("%d bytes came back, which are not what was sent", len(back))
				}
				check(t, c.CloseWithError(0, ""))
				check(t, <-served)
			})
		})
	}
}

// echo takes a connection, and sends a stream of its back.
func echo(ctx context.Context, l *quic.Listener) error {
	c, err := l.Accept(ctx)
	if err != nil {
		return err
	}
	s, err := c.AcceptStream(ctx)
	if err != nil {
		return err
	}
	if _, err := io.Copy(s, s); err != nil {
		return err
	}
	return s.Close()
}

// TestHTTP3 has streams ask a server for files at once.
func TestHTTP3(t *testing.T) {
	onWires(t, func(t *testing.T, near, far *gonet.Net) {
		serverTLS, clientTLS := tlsConfigs(t)
		c, err := far.ListenPacket("udp", ":443")
		check(t, err)
		defer c.Close()
		server := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(serverTLS), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s ", r.URL.Path)
			w.Write(payload[:size/10])
		})}
		go server.Serve(c)
		defer server.Close()
		tr := transport(t, near, nil, connections[0].of)
		rt := &http3.Transport{TLSClientConfig: clientTLS, Dial: func(ctx context.Context, _ string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
			return tr.DialEarly(ctx, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 443}, tlsConf, conf)
		}}
		defer rt.Close()
		client := http.Client{Transport: rt, Timeout: patience}
		const streams = 20
		want := sha256.Sum256(payload[:size/10])
		results := make(chan error, streams)
		for i := range streams {
			go func() { results <- get(&client, fmt.Sprintf("/%d", i), want) }()
		}
		for range streams {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// get asks for a path, and looks whether its name and its content come.
func get(client *http.Client, path string, want [sha256.Size]byte) error {
	r, err := client.Get("https://far" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	name, content, _ := bytes.Cut(body, []byte(" "))
	if string(name) != path || sha256.Sum256(content) != want {
		return fmt.Errorf("%s: %d bytes of %s", path, len(content), name)
	}
	return nil
}
