package main

import (
	"strings"
	"testing"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/test/lab"
)

// echo sends back what comes to a port of an end.
func echo(t *testing.T, at *lab.Endpoint, port uint16) {
	u := at.UDP(t, port)
	go serve(u)
}

func serve(u *inband.UDP) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := u.RecvFrom(b, 0)
		if err != nil {
			return
		}
		u.SendTo(b[:n], from)
	}
}

// The same program prints the same over libc and over the library.
func TestOracle(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	lab.Output(t, l.Near().Namespace, "sysctl", "-qw", "net.ipv4.ping_group_range=0 0")
	ours, theirs := compile(t, "testdata/oracle.c"), compileInBand(t, "testdata/oracle.c")
	echo(t, l.Far(), 7)
	args := []string{"near0", l.Near().Addr.String(), l.Far().Addr.String()}
	want := string(lab.Output(t, l.Near().Namespace, theirs, args...))
	got := string(lab.Output(t, l.Near().Namespace, ours, args...))
	if strings.Count(want, "\n") < 100 {
		t.Fatalf("the oracle says little:\n%s", want)
	}
	same(t, got, want)
}

// same wants two outputs to be the same, and tells the lines that are not.
func same(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("line %d: %q, in-band %q", i+1, a, b)
		}
	}
}
