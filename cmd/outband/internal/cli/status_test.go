package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/outband/outband/internal/status"
	"github.com/outband/outband/test/lab"
)

// TestEchoShared has a server on the host's own address, which status shows while it runs.
func TestEchoShared(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	server := start(t, l.Near().Namespace, nil, "echo", "--dev", "near0", "--port", "7", "-n", "2")
	server.expect(server.err, "listening on 0.0.0.0:7")
	client := l.Far().UDP(t, 0)
	ask := func() {
		b := make([]byte, 16)
		if err := client.SendTo([]byte("hello"), netip.AddrPortFrom(l.Near().Addr, 7)); err != nil {
			t.Fatal(err)
		}
		if n, _, err := client.RecvFrom(b, 0); err != nil || string(b[:n]) != "hello" {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	ask()
	var code int
	var out, errs string
	l.Near().In(t, func() error { code, out, errs = run("status"); return nil })
	if code != 0 || errs != "" || !strings.Contains(out, "): tcx, 1 ports held") || !strings.Contains(out, "near0") || !strings.Contains(out, "0.0.0.0:7") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	l.Near().In(t, func() error { code, out, errs = run("status", "--json"); return nil })
	var s struct {
		Schema    int
		Processes []struct {
			PID     int
			Rung    string
			Devices []struct {
				Name      string
				ClaimedIn uint64 `json:"claimed_in"`
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Schema != 1 || len(s.Processes) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	claimed := ""
	for _, d := range s.Processes[0].Devices {
		claimed += fmt.Sprintf("%s %d ", d.Name, d.ClaimedIn)
	}
	if claimed != "lo 0 near0 1 " {
		t.Errorf("claimed: %s", claimed)
	}
	ask()
	if code := server.wait(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
}

// What another process answers does not reach the terminal as anything but text.
func TestStatusIsText(t *testing.T) {
	p := processOf(status.Answer{PID: 7, UID: 8, Body: []byte(`{"program":"a\u001b[2Jb","rung":"tcx\n1 forged","why":"x\u0007",
		"devices":[{"name":"near0\u001b]0;x"}],"sockets":[{"proto":"udp\r","local":"l\n","remote":"r\n","path":"ring\n"}]}`)})
	var out strings.Builder
	p.print(&out)
	if n := strings.Count(out.String(), "\n"); n != 6 || strings.ContainsAny(out.String(), "\x1b\a\r") || !strings.Contains(out.String(), "(uid 8)") {
		t.Errorf("%d lines: %q", n, out.String())
	}
}
