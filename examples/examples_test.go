package examples

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/test/lab"
)

// patience bounds every wait for a program.
const patience = 30 * time.Second

// binaries is where the examples are built, once there is a test that runs one.
var binaries struct {
	dir  string
	once sync.Once
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
	os.Exit(code)
}

// built returns where an example is, and builds all of them the first time. A test
// that skips builds nothing: on a busy machine with a cold cache it takes minutes.
func built(t *testing.T, name string) string {
	t.Helper()
	binaries.once.Do(build)
	if binaries.err != nil {
		t.Fatal(binaries.err)
	}
	return filepath.Join(binaries.dir, name)
}

// buildPatience bounds the build, below what go test itself has by default: a build
// that hangs is told of as such.
const buildPatience = 5 * time.Minute

func build() {
	binaries.dir, binaries.err = os.MkdirTemp("", "outband-examples")
	if binaries.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binaries.dir+"/", "./...")
	// The compilers that it has started hold its output open: all of them are to end.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		binaries.err = fmt.Errorf("go build has not ended after %s:\n%s", buildPatience, out)
	case err != nil:
		binaries.err = fmt.Errorf("go build: %w\n%s", err, out)
	}
}

// A program is an example that runs.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

// Write implements io.Writer.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	return p.text.Write(b)
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// start runs an example at an end of a lab.
func start(t *testing.T, at *lab.Endpoint, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(built(t, name), args...),
		done: make(chan struct{}), more: make(chan struct{}, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	at.In(t, p.cmd.Start)
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// expect waits until the output matches.
func (p *program) expect(pattern string) {
	p.t.Helper()
	want := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for !want.MatchString(p.output()) {
		select {
		case <-p.more:
		case <-p.done:
			if !want.MatchString(p.output()) {
				p.t.Fatalf("%v ended without %s:\n%s", p.cmd.Args, pattern, p.output())
			}
		case <-timeout:
			p.t.Fatalf("%v does not print %s:\n%s", p.cmd.Args, pattern, p.output())
		}
	}
}

// end waits for the end, and wants all of the output to match.
func (p *program) end(pattern string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%v does not end:\n%s", p.cmd.Args, p.output())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || !regexp.MustCompile(`^(?:`+pattern+`)$`).MatchString(p.output()) {
		p.t.Errorf("%v: exit code %d:\n%s\nwant\n%s", p.cmd.Args, code, p.output(), pattern)
	}
}

func TestUDP(t *testing.T) {
	l := lab.New(t, lab.Config{})
	rx := start(t, l.Near(), "udp", "--dev", "near0", "--addr", "10.9.0.1/24")
	sendUntil(t, rx, func() bool { return rx.output() != "" }, func() {
		start(t, l.Far(), "udp", "--dev", "far0", "--addr", "10.9.0.2/24", "--to", "10.9.0.1:4000", "hello").end("")
	})
	rx.expect(`^(hello from 10\.9\.0\.2:\d+\n)+$`)
}

// sendUntil calls send again and again until rx, which does not tell when it
// listens, has received: what comes before is lost, as on any network.
func sendUntil(t *testing.T, rx *program, received func() bool, send func()) {
	t.Helper()
	for began := time.Now(); !received(); {
		if time.Since(began) > patience {
			t.Fatalf("%v receives nothing", rx.cmd.Args)
		}
		send()
		select { // a moment for what was sent, then again
		case <-rx.more:
		case <-rx.done:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func TestOOBNetUDP(t *testing.T) {
	tests := []struct {
		name, host   string
		send, rx     []string
		sender, want string
	}{
		{"unicast", "10.9.0.1", nil, nil, "10.9.0.1:42042", `= 13 bytes received: Mellow sword!\n`},
		{"fragments", "10.9.0.1", []string{"-m", "abcdefgh", "-n", "500"}, nil, "10.9.0.1:42042",
			`= 4000 bytes received: (?:abcdefgh)+\n`},
		{"cut", "10.9.0.1", []string{"-m", "abcdefgh", "-n", "2500"}, nil, "10.9.0.1:42042",
			`= 16384 bytes received \(TRUNCATED\): (?:abcdefgh)+\n`},
		{"broadcast", "broadcast", nil, nil, `\[broadcast\]:42042`, `= 13 bytes received: Mellow sword!\n`},
		{"directed broadcast", "10.9.0.255", []string{"-b"}, []string{"-b"}, `10.9.0.255:42042`, `= 13 bytes received: Mellow sword!\n`},
		{"verbose", "10.9.0.1", nil, []string{"-d"}, "10.9.0.1:42042",
			`= from 10\.9\.0\.2:\d+\n= 13 bytes received: Mellow sword!\n`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := lab.New(t, lab.Config{})
			rx := start(t, l.Near(), "oob-net-udp",
				append(tt.rx, "-i", "near0", "--addr", "10.9.0.1/24", "-a", tt.host, "-I", "1")...)
			rx.expect("== bound to port 42042\n")
			tx := start(t, l.Far(), "oob-net-udp",
				append(tt.send, "--dev", "far0", "--addr", "10.9.0.2/24", "-a", tt.host, "-S", "-I", "1")...)
			tx.end("== bound to far0\n== sender mode \\(=> " + tt.sender + "\\)\n")
			rx.end("== bound to near0\n== receiver mode \\(<= " + tt.sender + "\\)\n== bound to port 42042\n" + tt.want)
		})
	}
}

func TestOOBNetUDPSilent(t *testing.T) {
	l := lab.New(t, lab.Config{})
	rx := start(t, l.Near(), "oob-net-udp", "-i", "near0", "--addr", "10.9.0.1/24", "-a", "10.9.0.1", "-I", "1", "-s")
	ended := func() bool {
		select {
		case <-rx.done:
			return true
		default:
			return false
		}
	}
	sendUntil(t, rx, ended, func() {
		start(t, l.Far(), "oob-net-udp", "-i", "far0", "--addr", "10.9.0.2/24", "-a", "10.9.0.1", "-S", "-I", "1", "-s").end("")
	})
	rx.end("")
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct {
		name, text, inSmall, inLarge string
	}{
		{"small", "hello", "19", "0"},
		{"large", strings.Repeat("x", 1000), "128", "886"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lab.New(t, lab.Config{})
			server := start(t, l.Near(), "msgserver", "--dev", "near0", "--addr", "10.9.0.1/24")
			server.expect("^listening on 0.0.0.0:4000\n")
			client := start(t, l.Far(), "msgclient", "--dev", "far0", "--addr", "10.9.0.2/24", "--to", "10.9.0.1:4000", tt.text)
			client.end(`sent \d+ bytes from 3 buffers
answer from 10\.9\.0\.1:4000: got: message: (hello, end|x+)
ICMP from 10\.9\.0\.1: type 3, code 3: connection refused
  about 12 bytes to 10\.9\.0\.1:9: anybody here
`)
			server.expect(`\n\d+ bytes from 10\.9\.0\.2:\d+: ` + tt.inSmall + ` in the small buffer, ` + tt.inLarge + ` in the large one
  to 10\.9\.0\.1, interface \d+
  TTL 9
  TOS 0x10
`)
		})
	}
}

func TestEpoll(t *testing.T) {
	for _, proto := range []string{"0x88b5", "0x888e", "3"} {
		t.Run(proto, func(t *testing.T) {
			l := lab.New(t, lab.Config{})
			server := start(t, l.Near(), "epollserver", "--dev", "near0", "--proto", proto, "--count", "2")
			server.expect("^server is listening\n")
			if proto == "3" {
				proto = "0x88b5" // a server of ETH_P_ALL answers all
			}
			client := start(t, l.Far(), "epollclient", "--dev", "far0", "--proto", proto, "--count", "2")
			client.end("(?:Sentbuffer : hello server!\nReceived : HELLO\n){2}")
			server.end("server is listening\n(?:Received: hello server!\nsending message = HELLO\n){2}")
		})
	}
}

// TestOOBNetICMP has the far end's kernel ping the responder.
func TestOOBNetICMP(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	p := start(t, l.Near(), "oob-net-icmp", "-i", "near0", "--addr", "10.9.0.1", "--count", "1", "-d")
	p.expect("^listening to interface near0\n")
	var fd int
	l.Far().In(t, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		return err
	})
	defer unix.Close(fd)
	request := append([]byte{8, 0, 0, 0, 0x12, 0x34, 0, 7}, "are you there"...)
	binary.BigEndian.PutUint16(request[2:], icmp.Checksum(request))
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 9, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	tv := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 1500)
	n, _, err := unix.Recvfrom(fd, reply, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := reply[20:n]; got[0] != 0 || !bytes.Equal(got[4:], request[4:]) || icmp.Checksum(got) != 0 {
		t.Errorf("% x", got)
	}
	const mac = `mac=02:00:0a:09:00:02\n`
	p.end(`listening to interface near0\n` +
		`(?s:.*)\[\d+\] count=42, proto=0x806, ifindex=\d+, type=1, halen=6, ` + mac + `\.\. ARP reply sent: 42\n` +
		`\[\d+\] count=55, proto=0x800, ifindex=\d+, type=0, halen=6, ` + mac +
		`request: icmp_type=8, icmp_id=4660, icmp_seq=7, ip_hl=5, ip_v=4, ip_len=41, ip_p=1, ip_sum=0x[0-9a-f]+\n(?s:.*)` +
		`reply: icmp_type=0, (?s:.*)\.\. ICMP reply sent: 55\n`)
}

func TestUsage(t *testing.T) {
	for _, name := range []string{"udp", "oob-net-udp", "oob-net-icmp", "epollserver", "epollclient", "msgserver", "msgclient", "feed"} {
		out, err := exec.Command(built(t, name), "--help").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "network device") {
			t.Errorf("%s --help: %v\n%s", name, err, out)
		}
	}
}
