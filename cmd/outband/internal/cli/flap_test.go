package cli

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFlap has a device go down and come back under commands that go on, and say so.
func TestFlap(t *testing.T) {
	for _, args := range [][]string{{"echo", "--port", "9"}, {"recv", "--port", "9"}, {"ping", "10.9.0.2", "-i", "0.05"},
		{"mcast", "recv", "239.9.0.1:9"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			l, near := half(t)
			p := near(append(args, "--probe", "0")...)
			switch args[0] {
			case "ping":
				p.expect(p.out, "icmp_seq=1 ")
			case "mcast":
				p.expect(p.err, "joined 1 groups on near0")
			default:
				p.expect(p.err, "listening on")
			}
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			check(l.Near().SetDown("near0"))
			p.expect(p.err, "outband: near0: link is down\n")
			check(l.Near().SetUp("near0"))
			p.expect(p.err, "outband: near0: link is up\n")
			if args[0] == "echo" {
				client := l.Far().UDP(t, 0)
				send(t, client, []byte("still there?"), netip.MustParseAddrPort("10.9.0.1:9"))
				b := make([]byte, 32)
				if n, _, err := client.RecvFrom(b, 0); err != nil || string(b[:n]) != "still there?" {
					t.Errorf("%q, %v", b[:n], err)
				}
			}
			p.signal(unix.SIGINT)
			if code := p.wait(); code == ExitFailed {
				t.Errorf("exit code %d, stderr %s", code, p.err)
			}
		})
	}
}
