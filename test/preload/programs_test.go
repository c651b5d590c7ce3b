package preload

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/test/lab"
)

// python is Debian's, since what comes first in PATH may be a script that finds another.
const python = "/usr/bin/python3"

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// file writes a file of a test, and returns its path.
func (w *world) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// TestPython waits in each of Python's ways, with TCP in the same loop.
func TestPython(t *testing.T) {
	bothWays(t, func(w *world) string {
		w.start(7001, python, absolute(t, "server.py"), serverAddr)
		return w.client(python, absolute(t, "client.py"), serverAddr)
	}, python)
}

// TestIperf2 sends at a rate that arrives, to a server and to one that is a daemon.
func TestIperf2(t *testing.T) {
	for _, c := range []struct{ name, flag string }{{"server", "-e"}, {"daemon", "-D"}} {
		t.Run(c.name, func(t *testing.T) {
			bothWays(t, func(w *world) string {
				w.start(5001, "iperf", "-s", "-u", c.flag)
				out := w.client("iperf", "-u", "-c", serverAddr, "-b", "2M", "-t", "1", "-l", "1000")
				return lines(out, `Sent [0-9]+ datagrams|Server Report|WARNING|\(0%\)`, regexp.MustCompile(`[0-9]+\.[0-9]+-.*\(0%\).*|[0-9]+|:.*`))
			}, "iperf")
		})
	}
}

// TestIperf3 has a control connection by TCP beside its datagrams.
func TestIperf3(t *testing.T) {
	bothWays(t, func(w *world) string {
		w.start(0, "iperf3", "-s", "-1")
		w.awaitTCP(5201)
		out := w.client("iperf3", "-u", "-c", serverAddr, "-b", "2M", "-t", "1", "-l", "1000")
		return lines(out, `\(0%\).*(sender|receiver)|iperf Done`, regexp.MustCompile(`.*\(0%\)`))
	}, "iperf3")
}

// TestNcat sends to a server that executes a program for its client, and hears what that answers: the
// second datagram is for a child, whose parent has the same port.
func TestNcat(t *testing.T) {
	t.Run("both ways", func(t *testing.T) {
		bothWays(t, func(w *world) string {
			got := w.file("got", "")
			w.start(7005, "sh", "-c", `exec ncat -u -l `+serverAddr+` 7005 -o `+got+` -c cat`)
			return w.client("sh", "-c", `(echo one; sleep 0.3; echo two; sleep 0.5) | ncat -u --idle-timeout 2 `+serverAddr+` 7005 || true`)
		}, "ncat")
	})
}

// TestSocat connects, listens, and forks for each peer.
func TestSocat(t *testing.T) {
	for _, c := range []struct{ name, server string }{
		{"listen", "UDP4-LISTEN:7006"},
		{"receive", "UDP4-RECV:7006"},
		{"fork", "UDP4-LISTEN:7006,fork"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothWays(t, func(w *world) string {
				got := w.file("got", "")
				sink := "SYSTEM:cat >> " + got
				if c.name == "receive" {
					sink = "OPEN:" + got + ",wronly,append"
				}
				w.start(7006, "socat", "-u", c.server, sink)
				w.client("sh", "-c", `echo first | socat -u STDIN UDP4-SENDTO:`+serverAddr+`:7006`)
				return w.content(got, "first\n")
			}, "socat")
		})
	}
}

// content waits until a file holds a text, and returns what it holds in the end.
func (w *world) content(path, want string) string {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		if strings.Contains(string(text), want) || time.Now().After(end) {
			return string(text)
		}
	}
}

// TestPing compares what ping and traceroute print, without the times.
func TestPing(t *testing.T) {
	bothWays(t, func(w *world) string {
		out := w.client("ping", "-c", "3", "-i", "0.2", serverAddr)
		return lines(out, `icmp_seq|packets transmitted`, regexp.MustCompile(`time.*|, time.*`))
	}, "ping")
}

// TestTraceroute has its destination answer that the port is closed.
func TestTraceroute(t *testing.T) {
	bothWays(t, func(w *world) string {
		out := w.client("traceroute", "-n", "-q", "1", "-w", "2", serverAddr)
		return lines(out, `^ 1 `, regexp.MustCompile(`[0-9.]+ ms`))
	}, "traceroute")
}

// TestNmap tells an open port from a closed one, from in-band: its own sockets are raw ones.
func TestNmap(t *testing.T) {
	bothWays(t, func(w *world) string {
		w.start(7001, python, absolute(t, "server.py"), serverAddr)
		out := lab.Output(t, w.near.Namespace, "nmap", "-n", "-Pn", "-sU", "--send-ip", "-p", "7001,7999", "--max-retries", "2", serverAddr)
		return lines(string(out), `^[0-9]+/udp`, nil)
	}, "nmap", python)
}
