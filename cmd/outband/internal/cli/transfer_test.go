package cli

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/test/lab"
)

// nearPort is where the near end's servers listen.
var nearPort = netip.MustParseAddrPort("10.9.0.1:4000")

func send(t *testing.T, u *inband.UDP, payload []byte, to netip.AddrPort) {
	t.Helper()
	if err := u.SendTo(payload, to); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, u *inband.UDP) []byte {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := u.Recv(buf, 0)
	if err != nil {
		t.Fatal("recv:", err)
	}
	return buf[:n]
}

func TestEcho(t *testing.T) {
	l, near := half(t)
	p := near("echo", "--port", "4000", "--neigh", "--stat")
	p.expect(p.err, "listening on 10.9.0.1:4000, near0\n")
	client := l.Far().UDP(t, 0)
	total := 0
	for _, size := range []int{0, 1, 1472, 1473, 65507} {
		payload := bytes.Repeat([]byte{byte(size)}, size)
		send(t, client, payload, nearPort)
		if got := receive(t, client); !bytes.Equal(got, payload) {
			t.Errorf("%d bytes came back of %d", len(got), size)
		}
		total += size
	}
	p.signal(unix.SIGUSR1)
	p.expect(p.err, "UdpInDatagrams                  5                  0.0\n")
	p.signal(unix.SIGINT)
	p.end(ExitOK, "*", "*")
	for _, want := range []string{
		"10.9.0.2 dev near0 lladdr 02:00:0a:09:00:02 REACHABLE\n#outband\n",
		"\nIpReasmOKs                      2                  0.0\n",
		"\nUdpOutDatagrams                 5                  0.0\n",
		"\nLinkRxFrames",
	} {
		if !strings.Contains(p.out.String(), want) || !strings.Contains(p.err.String(), want) {
			t.Errorf("no %q in stdout or stderr:\n%s\n%s", want, p.out, p.err)
		}
	}
	if !strings.HasSuffix(p.err.String(), "\n5 datagrams, "+strconv.Itoa(total)+" bytes, 0 not sent back\n") {
		t.Errorf("stderr:\n%s", p.err)
	}
}

func TestEchoJSON(t *testing.T) {
	l, near := half(t)
	p := near("echo", "--port", "4000", "-n", "2", "--json", "--neigh")
	p.expect(p.err, "listening on ")
	client := l.Far().UDP(t, 0)
	for _, text := range []string{"one", "two"} {
		send(t, client, []byte(text), nearPort)
		receive(t, client)
	}
	p.end(ExitOK, `{"schema":1,"summary":{"datagrams":2,"bytes":6,"unsent":0},`+
		`"neighbours":[{"dst":"10.9.0.2","dev":"near0","lladdr":"02:00:0a:09:00:02","state":"REACHABLE"}]}`+"\n", "*")
}

// TestEchoSurvivesItsDevice takes the device down, up, away, and makes it anew.
func TestEchoSurvivesItsDevice(t *testing.T) {
	l, near := half(t)
	p := near("echo", "--port", "4000", "--stat")
	p.expect(p.err, "listening on ")
	client := l.Far().UDP(t, 0)
	if err := client.SetReadTimeout(50 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	echoed := func(when string) {
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); {
			client.SendTo([]byte(when), nearPort) // the far device may still lack its carrier
			buf := make([]byte, 64)
			if n, err := client.Recv(buf, 0); err == nil && string(buf[:n]) == when {
				return
			}
		}
		t.Fatalf("no echo %s\nstderr:\n%s", when, p.err)
	}
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	echoed("at first")
	change(l.Near().SetDown("near0"))
	change(l.Near().SetUp("near0"))
	echoed("after down and up")
	change(l.Near().DeleteDevice("near0"))
	change(l.Near().AddVeth(netlab.Veth{Name: "near0", PeerName: "far0", Peer: l.Far().Namespace}))
	change(l.Far().AddAddress("far0", l.Far().Prefix()))
	change(l.Far().SetUp("far0"))
	change(l.Near().SetUp("near0"))
	echoed("after it came back")
	p.signal(unix.SIGINT)
	p.end(ExitOK, "*", "*")
	if !strings.Contains(p.out.String(), "\nLinkReopened                    1 ") {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestRecv(t *testing.T) {
	l, near := half(t)
	tests := []struct {
		name string
		args []string
		out  string
	}{
		{"text", nil, "6 bytes from 10.9.0.2:4001: hello\n" +
			"8 bytes from 10.9.0.2:4001: \\x1b[31m\"re\n" +
			"5 bytes from 10.9.0.2:4001: café\n" +
			"0 bytes from 10.9.0.2:4001: \n"},
		{"json", []string{"--json"}, `{"schema":1,"from":"10.9.0.2:4001","bytes":6,"data_base64":"aGVsbG8K"}` + "\n" +
			`{"schema":1,"from":"10.9.0.2:4001","bytes":8,"data_base64":"G1szMW0icmU="}` + "\n" +
			`{"schema":1,"from":"10.9.0.2:4001","bytes":5,"data_base64":"Y2Fmw6k="}` + "\n" +
			`{"schema":1,"from":"10.9.0.2:4001","bytes":0,"data_base64":""}` + "\n" +
			`{"schema":1,"summary":{"datagrams":4,"bytes":19}}` + "\n"},
	}
	client := l.Far().BoundUDP(t, l.Far().AddrPort(4001))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := near(append([]string{"recv", "--port", "4000", "-n", "4"}, tt.args...)...)
			p.expect(p.err, "listening on ")
			for i, text := range []string{"hello\n", "\x1b[31m\"re", "café", ""} {
				send(t, client, []byte(text), nearPort)
				if i == 0 { // the kernel may send others before what waited for the neighbour
					first, _, _ := strings.Cut(tt.out, "\n")
					p.expect(p.out, first)
				}
			}
			p.end(ExitOK, tt.out, "*")
			if said := strings.HasSuffix(p.err.String(), "\n4 datagrams, 19 bytes\n"); said == (tt.name == "json") {
				t.Errorf("stderr: %s", p.err)
			}
		})
	}
}

func TestRecvInterrupted(t *testing.T) {
	l, near := half(t)
	few := near("recv", "--port", "4000", "-n", "2")
	few.expect(few.err, "listening on ")
	send(t, l.Far().BoundUDP(t, l.Far().AddrPort(4001)), []byte("x"), nearPort)
	few.expect(few.out, "1 bytes from 10.9.0.2:4001: x\n")
	few.signal(unix.SIGINT)
	few.end(ExitNo, "*", "listening on 10.9.0.1:4000, near0\n1 datagrams, 1 bytes\noutband: 1 of 2 datagrams came\n")

	any := near("recv", "--port", "4000")
	any.expect(any.err, "listening on ")
	any.signal(unix.SIGTERM)
	any.end(ExitOK, "", "listening on 10.9.0.1:4000, near0\n0 datagrams, 0 bytes\n")
}

func TestSendText(t *testing.T) {
	l, near := half(t)
	server := l.Far().UDP(t, 4000)
	p := near("send", "10.9.0.2:4000", "hello", "there", "--port", "4002")
	if got := receive(t, server); string(got) != "hello there" {
		t.Errorf("received %q", got)
	}
	p.end(ExitOK, "", "1 datagrams, 11 bytes\n")
}

func TestSendLines(t *testing.T) {
	l, near := half(t)
	server := l.Far().UDP(t, 4000)
	p := near("send", "10.9.0.2:4000", "--json")
	if _, err := p.in.Write([]byte("one\ntwo\r\n\nlast")); err != nil {
		t.Fatal(err)
	}
	p.in.Close()
	for _, want := range []string{"one", "two", "", "last"} {
		if got := receive(t, server); string(got) != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	p.end(ExitOK, `{"schema":1,"summary":{"datagrams":4,"bytes":10}}`+"\n", "")
}

// TestSendInterrupted has stdin stay open, as a terminal's would.
func TestSendInterrupted(t *testing.T) {
	l, near := half(t)
	server := l.Far().UDP(t, 4000)
	p := near("send", "10.9.0.2:4000")
	p.in.Write([]byte("one\n"))
	receive(t, server)
	p.signal(unix.SIGINT)
	p.end(ExitOK, "", "1 datagrams, 3 bytes\n")
}

func TestSendWaitsForAnswers(t *testing.T) {
	l, near := half(t)
	server := l.Far().BoundUDP(t, l.Far().AddrPort(4000))
	p := near("send", "10.9.0.2:4000", "who?", "--port", "4000", "--wait", "10s")
	receive(t, server)
	send(t, server, []byte("me"), nearPort)
	p.expect(p.out, "2 bytes from 10.9.0.2:4000: me\n")
	p.signal(unix.SIGINT)
	p.end(ExitOK, "*", "1 datagrams, 4 bytes\n")
}

func TestSendRefused(t *testing.T) {
	t.Parallel() // most of it is waiting
	_, near := half(t)
	near("send", "10.9.0.2:4000", "hello", "--wait", "10s").
		end(ExitNo, "", "1 datagrams, 5 bytes\noutband: 10.9.0.2:4000: connection refused\n")
	near("send", "10.8.0.2:4000", "hello").
		end(ExitFailed, "", "0 datagrams, 0 bytes\noutband: 10.8.0.2: network is unreachable; --gateway names the router for other networks\n")
	near("send", "10.9.0.77:4000", "hello").
		end(ExitNo, "", "0 datagrams, 0 bytes\noutband: 10.9.0.77: no route to host\n")
}

// TestSendToRecv has our stack at both ends.
func TestSendToRecv(t *testing.T) {
	l := lab.New(t, lab.Config{})
	server := start(t, l.Far().Namespace, nil, "recv", "--dev", "far0", "--addr", "10.9.0.2/24", "--port", "4000", "-n", "1", "--spin", "never")
	server.expect(server.err, "listening on 10.9.0.2:4000, far0\n")
	client := start(t, l.Near().Namespace, nil, "send", "--dev", "near0", "--addr", "10.9.0.1/24", "--port", "4001", "10.9.0.2:4000", "hello", "--spin", "20us")
	client.end(ExitOK, "", "*")
	server.end(ExitOK, "5 bytes from 10.9.0.1:4001: hello\n", "*")
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "\n": "", "plain\n": "plain", "a\nb": `a\nb`, "tab\there": "tab\there", "\xff": `\xff`, "\x1b": `\x1b`,
		`"quoted"`: `"quoted"`, "\"quoted\"\x00": `"quoted"\x00`, "世界": "世界",
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// TestSendToItself: what stays on the host needs no neighbour.
func TestSendToItself(t *testing.T) {
	_, near := half(t)
	for _, dest := range []string{"10.9.0.1", "127.0.0.1", "0.0.0.0"} {
		near("send", dest+":4000", "x").end(ExitOK, "", "1 datagrams, 1 bytes\n")
	}
}

// TestSendToAll: groups and broadcasts need none either.
func TestSendToAll(t *testing.T) {
	l, near := half(t)
	wire := l.Far().Packet(t)
	for _, dest := range []string{"239.9.0.1", "224.0.0.1", "10.9.0.255", "255.255.255.255"} {
		near("send", dest+":4000", dest).end(ExitOK, "", "1 datagrams, "+strconv.Itoa(len(dest))+" bytes\n")
		wire.Want(t, func(f []byte) bool { return bytes.HasSuffix(f, []byte(dest)) })
	}
}
