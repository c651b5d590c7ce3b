package gonet

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/ipv4"

	"github.com/outband/outband/test/lab"
)

// http3Rate is how fast a large file comes, in 10^6 bytes a second.
func http3Rate(t testing.TB, client, server *host, effort float64) float64 {
	return browse(t, client, server, int(100e6*effort), 1)
}

// http3Latency is how long one small request after the other takes, in us.
func http3Latency(t testing.TB, client, server *host, effort float64) float64 {
	return browse(t, client, server, 100, max(int(3000*effort), 10))
}

// browse has a process of its own ask a server for a file of n bytes, so many times.
func browse(t testing.TB, client, server *host, n, times int) float64 {
	t.Helper()
	config, _ := tlsConfigs(t)
	serveHTTP3(t, server, 443, config)
	ask := fmt.Sprint(server.addr, " ", n, " ", times)
	return number(t, lab.Output(t, client.at.Namespace, lab.NeedProgram(t, "env"), browseEnv+"="+ask, os.Args[0]), `([\d.]+)`)
}

// browseEnv makes a process a client of HTTP/3: of which server, for how many bytes, how often.
const browseEnv = "OUTBAND_TEST_BROWSE"

// browseAsChild prints what browse wants to know: 10^6 bytes a second of one file, or the median of many
// in us.
func browseAsChild(what string) error {
	var server string
	var n, times int
	if _, err := fmt.Sscan(what, &server, &n, &times); err != nil {
		return err
	}
	client := http.Client{Transport: &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: patience}
	get := func(n int) (float64, error) {
		start := time.Now()
		r, err := client.Get(fmt.Sprintf("https://%s/%d", server, n))
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		if m, err := io.Copy(io.Discard, r.Body); err != nil || m != int64(n) {
			return 0, fmt.Errorf("%d bytes of %d: %w", m, n, err)
		}
		return float64(time.Since(start)) / 1e3, nil
	}
	if _, err := get(1 << 16); err != nil {
		return err
	}
	var all []float64
	for range times {
		us, err := get(n)
		if err != nil {
			return err
		}
		all = append(all, us)
	}
	if times == 1 {
		all[0] = float64(n) / all[0]
	}
	fmt.Println(median(all))
	return nil
}

// dnsRate is how many queries are answered a second if dnsperf has a hundred under way.
func dnsRate(t testing.TB, client, server *host, effort float64) float64 {
	serveDNS(t, server.listen(t, 53))
	out := dnsperfOutput(t, client, server, "-l", "2", "-n", strconv.Itoa(max(int(1e6*effort), 1000)), "-c", "2")
	return number(t, out, `Queries per second: +([\d.]+)`)
}

// dnsLatency is how long an answer takes, in us.
func dnsLatency(t testing.TB, client, server *host, effort float64) float64 {
	serveDNS(t, server.listen(t, 53))
	out := dnsperfOutput(t, client, server, "-n", strconv.Itoa(max(int(4000*effort/3), 100)), "-Q", "2000", "-v")
	var all []float64
	for _, m := range regexp.MustCompile(`(?m)^> NOERROR .* ([\d.]+)$`).FindAllSubmatch(out, -1) {
		s, err := strconv.ParseFloat(string(m[1]), 64)
		check(t, err)
		all = append(all, 1e6*s)
	}
	if len(all) == 0 {
		t.Fatalf("no answers: %s", out)
	}
	return median(all)
}

// dnsperfOutput is what dnsperf prints.
func dnsperfOutput(t testing.TB, client, server *host, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "queries")
	check(t, os.WriteFile(file, []byte("a.example A\nb.example AAAA\nc.example A\n"), 0o644))
	args = append([]string{"-s", server.addr.String(), "-d", file}, args...)
	return lab.Output(t, client.at.Namespace, lab.NeedProgram(t, "dnsperf"), args...)
}

// number returns the number in an output that a pattern is for.
func number(t testing.TB, out []byte, pattern string) float64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no %s in %s", pattern, out)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	check(t, err)
	return v
}

// wireguardRate is how fast a stream of TCP comes through a tunnel, in 10^6 bytes a second.
func wireguardRate(t testing.TB, client, server *host, effort float64) float64 {
	a, b := tunnelBetween(t, client, server)
	l, err := b.net.ListenTCPAddrPort(inside)
	check(t, err)
	defer l.Close()
	n := int(50e6 * effort)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, content(1<<16+n))
	}()
	c, err := a.net.DialContextTCPAddrPort(t.Context(), inside)
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = io.CopyN(io.Discard, c, 1<<16)
	check(t, err)
	start := time.Now()
	m, err := io.Copy(io.Discard, c)
	check(t, err)
	if m != int64(n) {
		t.Fatalf("%d bytes of %d", m, n)
	}
	return float64(n) / 1e6 / time.Since(start).Seconds()
}

// statsdRate is at how many datagrams a second a receiver of counters does not lose one, to 5 %.
func statsdRate(t testing.TB, client, server *host, effort float64) float64 {
	c := server.listen(t, 8125)
	check(t, c.SetReadBuffer(4<<20))
	out := ipv4.NewPacketConn(client.dial(t, server.port(8125)))
	low, high := 1e3, 3e6
	for high/low > 1.05 && effort > 0 {
		rate := (low + high) / 2
		if high/low > 4 {
			rate = 2 * low
		}
		if lossless(t, c, out, rate, time.Duration(effort*float64(300*time.Millisecond))) {
			low = rate
		} else {
			high = rate
		}
	}
	return low
}

// lossless reports whether all comes of what is sent at a rate for a while.
func lossless(t testing.TB, c udpConn, out *ipv4.PacketConn, rate float64, d time.Duration) bool {
	t.Helper()
	n := max(int(rate*d.Seconds()), batch)
	n -= n % batch
	came := make(chan int, 1)
	go func() { came <- countersOf(c, n) }()
	start := time.Now()
	ms := make([]ipv4.Message, batch)
	for i := range ms {
		ms[i].Buffers = [][]byte{[]byte("test.requests.count:1|c")}
	}
	for sent := 0; sent < n; {
		m, err := out.WriteBatch(ms[:min(batch, n-sent)], 0)
		check(t, err)
		sent += m
		if ahead := time.Duration(float64(sent)/rate*1e9) - time.Since(start); ahead > 100*time.Microsecond {
			time.Sleep(ahead)
		}
	}
	late := time.Since(start) > d*5/4 // it cannot be sent at that rate
	return <-came == n && !late
}

// batch is how many datagrams are sent by a call.
const batch = 32

// countersOf reads up to n counters, until nothing comes, and returns how many there were.
func countersOf(c net.PacketConn, n int) (came int) {
	u := c.(udpConn)
	b := make([]byte, 2048)
	for came < n {
		if came%1024 == 0 {
			c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		}
		m, _, err := u.ReadFromUDPAddrPort(b)
		if err != nil {
			return came
		}
		if bytes.HasSuffix(b[:m], []byte(":1|c")) {
			came++
		}
	}
	return came
}
