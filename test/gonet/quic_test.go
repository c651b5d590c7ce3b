package gonet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outband/outband/gonet"
)

var _ quic.OOBCapablePacketConn = (*gonet.SyscallUDPConn)(nil)

// payload is what streams carry.
var payload = func() []byte {
	b := make([]byte, size)
	_, _ = mrand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// certificate returns a certificate for the name "far", and who believes it.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, roots
}

// tlsConfigs returns what a server and its client need.
func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	cert, roots := certificate(t)
	server = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"test"}}
	return server, &tls.Config{RootCAs: roots, ServerName: "far", NextProtos: []string{"test"}}
}

// quicTransport opens a connection and gives it to quic-go.
func quicTransport(t testing.TB, h *host, port int, batches bool) *quic.Transport {
	t.Helper()
	tr := &quic.Transport{Conn: h.forQUIC(t, port, batches)}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// runQUIC sends streams there and back, a datagram by a call.
func runQUIC(t *testing.T, w *world, client, server *host) {
	echoByQUIC(t, w, client, server, false)
}

// runQUICBatches is runQUIC with several datagrams by a call, marked for congestion.
func runQUICBatches(t *testing.T, w *world, client, server *host) {
	echoByQUIC(t, w, client, server, true)
}

func echoByQUIC(t *testing.T, w *world, client, server *host, batches bool) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	serverTLS, clientTLS := tlsConfigs(t)
	l, err := quicTransport(t, server, 4433, batches).Listen(serverTLS, nil)
	check(t, err)
	served := make(chan error, 1)
	go func() { served <- echo(ctx, l) }()
	c, err := quicTransport(t, client, 0, batches).Dial(ctx, server.port(4433), clientTLS, nil)
	check(t, err)
	w.rounds(t, func(int) {
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
	})
	check(t, c.CloseWithError(0, ""))
	<-served
}

// echo takes a connection, and sends its streams back until it ends.
func echo(ctx context.Context, l *quic.Listener) error {
	c, err := l.Accept(ctx)
	if err != nil {
		return err
	}
	for {
		s, err := c.AcceptStream(ctx)
		if err != nil {
			return err
		}
		go func() {
			io.Copy(s, s)
			s.Close()
		}()
	}
}

// runMigration has a client go on by another connection, in the middle of a stream.
func runMigration(t *testing.T, w *world, client, server *host) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	serverTLS, clientTLS := tlsConfigs(t)
	l, err := quicTransport(t, server, 4434, true).Listen(serverTLS, nil)
	check(t, err)
	accepted := make(chan *quic.Conn, 1)
	go func() {
		if c, err := l.Accept(ctx); err == nil {
			accepted <- c
		}
	}()
	c, err := quicTransport(t, client, 0, true).Dial(ctx, server.port(4434), clientTLS, nil)
	check(t, err)
	there := <-accepted
	s, err := c.OpenStreamSync(ctx)
	check(t, err)
	_, err = s.Write([]byte{0})
	check(t, err)
	far, err := there.AcceptStream(ctx)
	check(t, err)
	go io.Copy(far, far)
	back := make([]byte, 1+len(payload)/10)
	_, err = io.ReadFull(s, back[:1])
	check(t, err)
	w.rounds(t, func(i int) {
		tr := quicTransport(t, client, 0, true)
		path, err := c.AddPath(tr)
		check(t, err)
		check(t, path.Probe(ctx))
		check(t, path.Switch())
		go s.Write(payload[:len(payload)/10])
		_, err = io.ReadFull(s, back[1:])
		check(t, err)
		if !bytes.Equal(back[1:], payload[:len(payload)/10]) {
			t.Error("what came back is not what was sent")
		}
		from, want := there.RemoteAddr().(*net.UDPAddr).Port, tr.Conn.LocalAddr().(*net.UDPAddr).Port
		if from != want {
			t.Errorf("round %d: the server hears port %d, not %d", i, from, want)
		}
	})
	check(t, c.CloseWithError(0, "done"))
}
