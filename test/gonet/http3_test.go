package gonet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// How much is asked for: at once by how many streams, and how many bytes of one file.
// OUTBAND_FULL=1 in the environment asks for all that the issue of a release is tried with.
func http3Sizes() (streams, file int) {
	if os.Getenv("OUTBAND_FULL") != "" {
		return 100, 100 << 20
	}
	return 20, size / 2
}

// serveHTTP3 runs a server at a port of a host until the test ends. It has a file of any
// length, which is its name.
func serveHTTP3(t testing.TB, h *host, port int, config *tls.Config) {
	t.Helper()
	server := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(config), QUICConfig: &quic.Config{Allow0RTT: true},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
			io.Copy(w, content(n))
		})}
	c := h.forQUIC(t, port, true)
	done := make(chan error, 1)
	go func() { done <- server.Serve(c) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error("Serve:", err)
		}
	})
}

// content returns the payload, over and over, up to n bytes.
func content(n int) io.Reader {
	var parts []io.Reader
	for ; n > len(payload); n -= len(payload) {
		parts = append(parts, bytes.NewReader(payload))
	}
	return io.MultiReader(append(parts, bytes.NewReader(payload[:n]))...)
}

// A browser asks a server by HTTP/3.
type browser struct {
	http.Client
	conns chan *quic.Conn // each that was made
}

// newBrowser returns one that asks the server at a port of a host.
func newBrowser(t testing.TB, client, server *host, port int, config *tls.Config) *browser {
	t.Helper()
	tr := quicTransport(t, client, 0, true)
	b := &browser{conns: make(chan *quic.Conn, 10)}
	rt := &http3.Transport{TLSClientConfig: config, Dial: func(ctx context.Context, _ string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
		c, err := tr.DialEarly(ctx, server.port(port), tlsConf, conf)
		if err == nil {
			b.conns <- c
		}
		return c, err
	}}
	t.Cleanup(func() { rt.Close() })
	b.Client = http.Client{Transport: rt, Timeout: patience}
	return b
}

// get asks for a file of n bytes, and looks whether it is what comes.
func (b *browser) get(method string, n int) error {
	q, err := http.NewRequest(method, fmt.Sprintf("https://far/%d", n), nil)
	if err != nil {
		return err
	}
	r, err := b.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	got, want := sha256.New(), sha256.New()
	m, err := io.Copy(got, r.Body)
	if err != nil {
		return err
	}
	io.Copy(want, content(n))
	if m != int64(n) || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("%d bytes of %d, or other ones", m, n)
	}
	return nil
}

// runHTTP3 asks a server for one large file, and for many at once, and then as a client that
// has been there before.
func runHTTP3(t *testing.T, w *world, client, server *host) {
	serverTLS, clientTLS := tlsConfigs(t)
	clientTLS.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	serveHTTP3(t, server, 443, serverTLS)
	b := newBrowser(t, client, server, 443, clientTLS)
	streams, file := http3Sizes()
	w.rounds(t, func(int) {
		check(t, b.get(http.MethodGet, file))
		results := make(chan error, streams)
		for i := range streams {
			go func() { results <- b.get(http.MethodGet, file/streams+i) }()
		}
		for range streams {
			check(t, <-results)
		}
	})
	again := newBrowser(t, client, server, 443, clientTLS)
	check(t, again.get(http3.MethodGet0RTT, 1000))
	if c := <-again.conns; !c.ConnectionState().Used0RTT {
		t.Error("the second connection has not asked by its first flight")
	}
}
