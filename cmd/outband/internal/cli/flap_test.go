package cli

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/test/lab"
)

// An outageCase is something that happens to a device, what commands say of it, and
// what they say when it is over.
type outageCase struct {
	name       string
	begin, end func(t *testing.T, l *lab.Lab)
	said       string
	unreached  bool // sends are refused meanwhile
}

var outages = []outageCase{
	{name: "down", said: "link is down", unreached: true,
		begin: func(t *testing.T, l *lab.Lab) { check(t, l.Near().SetDown("near0")) },
		end:   func(t *testing.T, l *lab.Lab) { check(t, l.Near().SetUp("near0")) }},
	{name: "no carrier", said: "link is down",
		begin: func(t *testing.T, l *lab.Lab) { check(t, l.Far().SetDown("far0")) },
		end:   func(t *testing.T, l *lab.Lab) { check(t, l.Far().SetUp("far0")) }},
	{name: "deleted", said: "device is gone", unreached: true,
		begin: func(t *testing.T, l *lab.Lab) { check(t, l.Near().DeleteDevice("near0")) },
		end: func(t *testing.T, l *lab.Lab) {
			near, far := l.Near(), l.Far()
			check(t, near.AddVeth(netlab.Veth{Name: "near0", PeerName: "far0", Peer: far.Namespace, MAC: near.MAC, PeerMAC: far.MAC}))
			check(t, far.AddAddress("far0", far.Prefix()))
			check(t, far.SetUp("far0"))
			check(t, near.SetUp("near0"))
		}},
}

// A flapCase is a command that outlives an outage: how it begins, what it does
// meanwhile, and how it shows that it works again.
type flapCase struct {
	args                  []string
	begins, during, after func(f *flapping)
}

// flapping is a case with an outage.
type flapping struct {
	*process
	l      *lab.Lab
	o      *outageCase
	server *inband.UDP // at port 9 of the far end
	said   int         // lines that were written to the command
}

// listens waits until a command that receives has begun.
func listens(text string) func(*flapping) {
	return func(f *flapping) { f.expect(f.err, text) }
}

// prints sends datagrams to the command until it prints one.
func prints(f *flapping) {
	client := f.l.Far().UDP(f.t, 0)
	check(f.t, client.SetReadTimeout(10*time.Millisecond))
	count := func() int { return strings.Count(f.out.String(), "still there?") }
	for had := count(); count() == had; {
		client.SendTo([]byte("still there?"), netip.MustParseAddrPort("10.9.0.1:9")) // the device may not be ready yet
		client.Recv(make([]byte, 1), 0)                                              // a pause: nothing comes
	}
}

// answers sends datagrams to the command until it answers one.
func answers(f *flapping) {
	client := f.l.Far().UDP(f.t, 0)
	check(f.t, client.SetReadTimeout(50*time.Millisecond))
	b := make([]byte, 32)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		client.SendTo([]byte("still there?"), netip.MustParseAddrPort("10.9.0.1:9"))
		if n, err := client.Recv(b, 0); err == nil && string(b[:n]) == "still there?" {
			return
		}
	}
	f.t.Fatalf("no answer: %s", f.err)
}

// sends writes lines to the command until the server has one of them.
func sends(f *flapping) {
	// The group may have gone with its device.
	unix.SetsockoptIPMreq(f.server.FD(), unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, &flapGroup)
	check(f.t, unix.SetsockoptIPMreq(f.server.FD(), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &flapGroup))
	check(f.t, f.server.SetReadTimeout(50*time.Millisecond))
	b := make([]byte, 64)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		f.line()
		for {
			n, err := f.server.Recv(b, 0)
			if err != nil {
				break
			}
			if string(b[:n]) == fmt.Sprint("line ", f.said) {
				return
			}
		}
	}
	f.t.Fatalf("line %d does not arrive: %s", f.said, f.err)
}

var flapGroup = unix.IPMreq{Multiaddr: [4]byte{239, 9, 0, 1}, Interface: [4]byte{10, 9, 0, 2}}

func (f *flapping) line() {
	f.said++
	fmt.Fprintln(f.in, "line", f.said)
}

// loses writes lines that cannot leave: they are not errors, and end nothing.
func loses(f *flapping) {
	for range 3 {
		f.line()
	}
}

func nothing(*flapping) {}

// pings waits for a reply.
func pings(f *flapping) {
	count := func() int { return strings.Count(f.out.String(), "bytes from 10.9.0.2") }
	had := count()
	f.until(f.out, "a reply", func() bool { return count() > had })
}

// pingsInVain waits until ping says why a request is not sent, as ping(8) does.
func pingsInVain(f *flapping) {
	if f.o.unreached {
		f.expect(f.err, "ping: sendmsg: Network is unreachable\n")
	}
}

var flaps = []flapCase{
	{[]string{"echo", "--port", "9"}, listens("listening on"), nothing, answers},
	{[]string{"recv", "--port", "9"}, listens("listening on"), nothing, prints},
	{[]string{"send", "10.9.0.2:9"}, sends, loses, sends},
	{[]string{"mcast", "send", "239.9.0.1:9"}, sends, loses, sends},
	{[]string{"mcast", "recv", "239.9.0.1:9"}, listens("joined 1 groups on near0"), nothing, nothing},
	{[]string{"ping", "10.9.0.2", "-i", "0.05"}, pings, pingsInVain, pings},
}

// TestFlap has something happen to a device, twice, under commands that go on: they say
// so in a line each time, and work again when it is over.
func TestFlap(t *testing.T) {
	for i := range outages {
		for _, c := range flaps {
			o := &outages[i]
			t.Run(o.name+"/"+strings.Join(c.args, " "), func(t *testing.T) {
				t.Parallel()
				flap(t, o, c)
			})
		}
	}
}

func flap(t *testing.T, o *outageCase, c flapCase) {
	l, near := half(t)
	server := l.Far().UDP(t, 9)
	p := near(append(c.args, "--probe", "0")...)
	f := &flapping{process: p, l: l, o: o, server: server}
	c.begins(f)
	for n := 1; n <= 2; n++ {
		o.begin(t, l)
		said(p, o.said, n)
		c.during(f)
		o.end(t, l)
		said(p, "link is up", n)
		c.after(f)
	}
	p.signal(unix.SIGINT)
	if code := p.wait(); code == ExitFailed {
		t.Errorf("exit code %d, stderr %s", code, p.err)
	}
	lines := 0
	for line := range strings.Lines(p.err.String()) {
		switch {
		case strings.HasPrefix(line, "outband: near0: "):
			lines++
		case strings.HasPrefix(line, "outband: "):
			t.Errorf("it says %q too", line)
		}
	}
	// A device that is made again is down before it is up.
	if most := map[bool]int{true: 6, false: 4}[o.said == "device is gone"]; lines < 4 || lines > most {
		t.Errorf("%d lines for four changes of the device:\n%s", lines, p.err)
	}
}

// said waits until a command has said something of its device n times.
func said(p *process, what string, n int) {
	p.t.Helper()
	line := "outband: near0: " + what + "\n"
	p.until(p.err, what, func() bool { return strings.Count(p.err.String(), line) >= n })
}

// What somebody else does with the command's address is said in a line.
func TestConflictIsSaid(t *testing.T) {
	for _, args := range [][]string{{"echo", "--port", "9"}, {"recv", "--port", "9"}, {"ping", "10.9.0.2", "-i", "0.05"},
		{"send", "10.9.0.2:9"}, {"mcast", "recv", "239.9.0.1:9"}, {"mcast", "send", "239.9.0.1:9"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			l, near := half(t)
			thief := l.Far().Packet(t)
			p := near(append(args, "--probe", "0")...)
			frame := []byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x66\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" +
				"\x02\x00\x00\x00\x00\x66\x0a\x09\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x09\x00\x01")
			const line = "outband: near0: 02:00:00:00:00:66 uses our address 10.9.0.1 too\n"
			for end := time.Now().Add(patience); !strings.Contains(p.err.String(), line); {
				if time.Now().After(end) {
					t.Fatalf("it is not said: %s", p.err)
				}
				thief.Send(t, frame) // it may have no address yet
				thief.Next(t, 20*time.Millisecond, func([]byte) bool { return false })
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
