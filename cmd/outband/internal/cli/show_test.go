package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// snapshotOf sends SIGUSR1 and returns the line of JSON that stderr has then.
func snapshotOf(t *testing.T, p *process) (s snapshot) {
	t.Helper()
	p.signal(unix.SIGUSR1)
	p.expect(p.err, "{")
	_, text, _ := strings.Cut(p.err.String(), "{")
	line, rest, _ := strings.Cut("{"+text, "\n")
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil || s.Schema != 1 || s.Error != "" || rest != "" {
		t.Fatalf("%v: %s", err, p.err)
	}
	return s
}

// TestSignalJSON asks every command that runs for long.
func TestSignalJSON(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		ready string // on stderr
	}{
		{"echo", []string{"echo", "--port", "4000"}, "listening on "},
		{"recv", []string{"recv", "--port", "4000"}, "listening on "},
		{"send", []string{"send", "10.9.0.2:4000", "hello", "--wait", "1h"}, ""},
		{"stat", []string{"stat"}, "is up on near0"},
		{"mcast recv", []string{"mcast", "recv", "239.9.0.1:5000"}, "joined"},
		{"mcast groups", []string{"mcast", "groups", "239.9.0.1:5000", "--time", "1h"}, "joined"},
		{"mcast send", []string{"mcast", "send", "239.9.0.1:5000", "x", "--count", "1M", "--rate", "1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, near := half(t)
			server := l.Far().UDP(t, 4000)
			p := near(append(tt.args, "--json")...)
			switch tt.name {
			case "send":
				receive(t, server)
			case "mcast send":
				q := start(t, l.Far().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "--dev", "far0", "--in-band", "-n", "1")
				q.end(ExitOK, "*", "*")
			}
			p.expect(p.err, tt.ready)
			s := snapshotOf(t, p)
			if _, there := s.Counters["UdpInDatagrams"]; !there {
				t.Errorf("counters %v", s.Counters)
			}
			if tt.name == "send" && (len(s.Neighbours) != 1 || s.Neighbours[0].Addr != "10.9.0.2") {
				t.Errorf("neighbours %+v", s.Neighbours)
			}
			if strings.Contains(tt.name, "recv") && tt.name != "recv" && (len(s.Groups) == 0 || s.Groups[0].Group != "239.9.0.1") {
				t.Errorf("groups %+v", s.Groups)
			}
			p.signal(unix.SIGINT)
			p.wait()
		})
	}
}

// TestSignalJSONInBand has no stack of ours: there are groups alone.
func TestSignalJSONInBand(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	p := start(t, l.Near().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "--dev", "near0", "--in-band", "--json")
	p.expect(p.err, "joined")
	s := snapshotOf(t, p)
	joined := false
	for _, g := range s.Groups {
		joined = joined || g.Group == "239.9.0.1" && g.Device == "near0"
	}
	if !joined || s.Neighbours != nil || s.Counters != nil {
		t.Errorf("%+v", s)
	}
}

// TestNeighTakesSignal: the signal that shows the state of others does not end it.
func TestNeighTakesSignal(t *testing.T) {
	l, near := half(t)
	wire := l.Far().Packet(t)
	p := near("neigh", "10.9.0.77", "-w", "1h", "--json")
	const target = 38 // of an ARP request in its frame
	wire.Want(t, func(f []byte) bool {
		return len(f) >= target+4 && bytes.Equal(f[target:target+4], []byte{10, 9, 0, 77})
	})
	if s := snapshotOf(t, p); len(s.Neighbours) != 1 {
		t.Errorf("%+v", s)
	}
}
