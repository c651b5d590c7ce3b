package preload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSockperf has sockperf wait in each of its ways, with two sockets where it waits for several.
func TestSockperf(t *testing.T) {
	for _, c := range []struct {
		name   string
		server []string
		client []string
	}{
		{"recvfrom", nil, []string{"ping-pong"}},
		{"nonblocked", []string{"--nonblocked"}, []string{"ping-pong", "--nonblocked"}},
		{"select", []string{"-F", "select"}, []string{"ping-pong", "-F", "select"}},
		{"poll", []string{"-F", "poll"}, []string{"ping-pong", "-F", "poll"}},
		{"epoll", []string{"-F", "epoll"}, []string{"ping-pong", "-F", "epoll"}},
		{"under-load", nil, []string{"under-load", "--mps", "1000"}},
		{"throughput", nil, []string{"throughput", "--mps", "1000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothWays(t, func(w *world) string { return sockperf(w, c.server, c.client) }, "sockperf")
		})
	}
}

func sockperf(w *world, server, client []string) string {
	feed := filepath.Join(w.t.TempDir(), "feed")
	text := "U:" + serverAddr + ":5001\n"
	where := []string{"-i", serverAddr, "-p", "5001"}
	for i, word := range server {
		if word == "-F" && i < len(server) {
			text += "U:" + serverAddr + ":5002\n"
			where = []string{"-f", feed}
		}
	}
	if err := os.WriteFile(feed, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.start(5001, append(append([]string{"sockperf", "server"}, where...), server...)...)
	out := w.client(append(append([]string{"sockperf"}, client...), append(where, "-t", "1", "-m", "64")...)...)
	// How many there are depends on the machine; that there are some, and none lost, does not.
	if strings.Contains(out, "No valid observations") {
		return "none"
	}
	return lines(out, `Test ended|dropped messages = 0;|Total of .* messages sent`, numbers)
}
