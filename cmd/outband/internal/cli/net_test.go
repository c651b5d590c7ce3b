package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/demo"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

func TestNetUsage(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // in stderr
	}{
		{"no device", []string{"recv", "--port", "9", "--addr", "10.9.0.1/24"}, "needs a network device: --dev"},
		{"no address", []string{"recv", "--port", "9", "--dev", "lo"}, "needs an address of our own: --addr"},
		{"no prefix length", []string{"stat", "--addr", "10.9.0.1"}, "is not an IPv4 address with a prefix length"},
		{"IPv6", []string{"stat", "--addr", "::1/64"}, "is not an IPv4 address with a prefix length"},
		{"gateway elsewhere", []string{"stat", "--dev", "lo", "--addr", "10.9.0.1/24", "--gateway", "10.8.0.1"}, "gateway 10.8.0.1 is not in 10.9.0.0/24"},
		{"gateway of words", []string{"stat", "--gateway", "router"}, `"router" is not an IPv4 address`},
		{"bad spin", []string{"stat", "--spin", "sometimes"}, `"sometimes" is neither a duration nor always, never or default`},
		{"negative spin", []string{"stat", "--spin", "-1s"}, "neither a duration"},
		{"no port", []string{"recv"}, `required flag(s) "port" not set`},
		{"send nowhere", []string{"send", "far"}, `"far" is not an IPv4 address and a port`},
		{"send to port 0", []string{"send", "10.9.0.2:0"}, "is not an IPv4 address and a port"},
		{"ping a name", []string{"ping", "far"}, `"far" is not an IPv4 address`},
		{"neigh of a name", []string{"neigh", "far"}, `"far" is not an IPv4 address`},
		{"ping too large", []string{"ping", "10.9.0.2", "-s", "65508"}, "-s 65508: must be from 0 to 65507"},
		{"ping too quick", []string{"ping", "10.9.0.2", "-i", "0.001"}, "-i 1ms: must be 2ms or more"},
		{"ping TTL", []string{"ping", "10.9.0.2", "-t", "0"}, "-t 0: must be from 1 to 255"},
		{"ping for a negative time", []string{"ping", "10.9.0.2", "-w", "-1"}, "neither seconds nor a duration"},
		{"ping from elsewhere", []string{"ping", "10.9.0.2", "--addr", "10.9.0.1/24", "-I", "10.9.0.3"}, "-I 10.9.0.3: not our own address"},
		{"ping by two devices", []string{"ping", "10.9.0.2", "--dev", "lo", "-I", "near0"}, "-I near0: --dev says lo"},
		{"no such device", []string{"stat", "--dev", "none0", "--addr", "10.9.0.1/24"}, "none0: no such device"},
		{"the kernel's address", []string{"stat", "--dev", "lo", "--addr", "127.0.0.1/8"}, "127.0.0.1 on lo: the kernel has this address"},
		{"demo of something", []string{"demo", "more"}, `unknown command "more"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := run(tt.args...)
			if code != ExitFailed || out != "" || !strings.HasPrefix(err, "outband: ") || !strings.Contains(err, tt.want) {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, err)
			}
		})
	}
}

func TestSpinFlag(t *testing.T) {
	for text, want := range map[string]time.Duration{"default": stack.SpinAdaptive, "always": stack.SpinAlways,
		"never": stack.SpinNever, "0": stack.SpinNever, "20us": 20 * time.Microsecond} {
		var v spinValue
		if err := v.Set(text); err != nil || time.Duration(v) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(v), err)
		}
	}
	for _, text := range []string{"default", "always", "never", "20µs"} {
		var v spinValue
		if v.Set(text); v.String() != text {
			t.Errorf("%s becomes %s", text, v.String())
		}
	}
}

// TestWithoutCapability runs a command as a user who may open no packet socket.
func TestWithoutCapability(t *testing.T) {
	lab.Need(t) // to become nobody takes root
	const nobody = 65534
	p := start(t, nil, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}, "recv", "--port", "9", "--dev", "lo", "--addr", "10.9.0.1/24")
	p.end(ExitFailed, "", "*")
	want := regexp.MustCompile(`^outband: [^\n]*needs CAP_NET_RAW[^\n]*
  once:     sudo \S+ recv --port 9 --dev lo --addr 10\.9\.0\.1/24
  for good: sudo setcap cap_net_raw\+ep \S+
$`)
	if !want.MatchString(p.err.String()) {
		t.Errorf("stderr:\n%s", p.err)
	}
}

// line is a reply as ping(8) prints it.
const replyLine = `64 bytes from 10\.9\.0\.2: icmp_seq=%d ttl=64 time=[0-9.]+ ms\n`

func TestPing(t *testing.T) {
	_, near := half(t)
	p := near("ping", "10.9.0.2", "-c", "2", "-i", "0.01", "--neigh")
	p.end(ExitOK, "*", "")
	want := regexp.MustCompile(`^PING 10\.9\.0\.2 \(10\.9\.0\.2\) 56\(84\) bytes of data\.\n` +
		strings.Replace(replyLine, "%d", "1", 1) + strings.Replace(replyLine, "%d", "2", 1) + `
--- 10\.9\.0\.2 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time \d+ms
rtt min/avg/max/mdev = [0-9.]+/[0-9.]+/[0-9.]+/[0-9.]+ ms
10\.9\.0\.2 dev near0 lladdr 02:00:0a:09:00:02 REACHABLE
$`)
	if !want.MatchString(p.out.String()) {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestPingLargest(t *testing.T) {
	_, near := half(t)
	p := near("ping", "10.9.0.2", "-c", "1", "-s", "65507", "-I", "near0", "-q")
	p.end(ExitOK, "*", "")
	if !strings.HasPrefix(p.out.String(), "PING 10.9.0.2 (10.9.0.2) from 10.9.0.1 near0: 65507(65535) bytes of data.\n\n---") {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestPingJSON(t *testing.T) {
	_, near := half(t)
	p := near("ping", "10.9.0.2", "-c", "1", "--json", "-t", "9")
	p.end(ExitOK, "*", "")
	numbers := regexp.MustCompile(`_ns":\d+`)
	const want = `{"schema":1,"summary":{"destination":"10.9.0.2","transmitted":1,"received":1,"duplicates":0,"errors":0,` +
		`"loss_percent":0,"elapsed_ns":0,"rtt":{"min_ns":0,"avg_ns":0,"max_ns":0,"mdev_ns":0},` +
		`"replies":[{"icmp_seq":1,"bytes":64,"ttl":64,"rtt_ns":0}]}}` + "\n"
	if got := numbers.ReplaceAllString(p.out.String(), `_ns":0`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPingNobody(t *testing.T) {
	t.Parallel() // most of it is waiting
	_, near := half(t)
	near("ping", "10.9.0.77", "-c", "1", "-W", "0.1").end(ExitNo, "*", "")
	near("ping", "10.9.0.255").end(ExitFailed, "", "outband: 10.9.0.255 is a broadcast address: permission denied\n")
	near("ping", "8.8.8.8").end(ExitFailed, "", "outband: 8.8.8.8: network is unreachable; --gateway names the router for other networks\n")
	p := near("ping", "10.9.0.77", "-c", "2")
	p.end(ExitNo, "*", "")
	for _, want := range []string{"From 10.9.0.1 icmp_seq=1 Destination Host Unreachable\n", "icmp_seq=2 Destination Host Unreachable\n",
		"2 packets transmitted, 0 received, +2 errors, 100% packet loss"} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("no %q in stdout:\n%s", want, p.out)
		}
	}
}

func TestPingSignals(t *testing.T) {
	_, near := half(t)
	p := near("ping", "10.9.0.2", "-i", "0.05")
	p.expect(p.out, "icmp_seq=1 ")
	p.signal(unix.SIGQUIT)
	p.expect(p.err, "% loss, min/avg/ewma/max = ")
	p.signal(unix.SIGUSR1)
	p.expect(p.err, "IcmpInEchoReps")
	p.signal(unix.SIGINT)
	p.end(ExitOK, "*", "*")
	if !strings.Contains(p.out.String(), "\n--- 10.9.0.2 ping statistics ---\n") {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestNeigh(t *testing.T) {
	t.Parallel() // most of it is waiting
	_, near := half(t)
	near("neigh", "10.9.0.2").end(ExitOK, "10.9.0.2 dev near0 lladdr 02:00:0a:09:00:02 REACHABLE\n", "")
	near("neigh", "8.8.8.8", "--gateway", "10.9.0.2", "--json").
		end(ExitOK, `{"schema":1,"neighbours":[{"dst":"10.9.0.2","dev":"near0","lladdr":"02:00:0a:09:00:02","state":"REACHABLE"}]}`+"\n", "")
	near("neigh", "10.9.0.77", "10.9.0.2", "8.8.8.8", "-w", "200ms").
		end(ExitNo, "10.9.0.2 dev near0 lladdr 02:00:0a:09:00:02 REACHABLE\n10.9.0.77 dev near0 INCOMPLETE\n",
			"outband: 10.9.0.77: connection timed out, 8.8.8.8: network is unreachable\n")
	p := near("neigh", "10.9.0.77", "-w", "20s")
	p.expect(p.err, "")
	p.signal(unix.SIGINT)
	if code := p.wait(); code != ExitNo && code != -1 { // -1: it was too early for a handler
		t.Errorf("exit code %d, stderr %s", code, p.err)
	}
}

func TestStat(t *testing.T) {
	l, near := half(t)
	p := near("stat")
	p.expect(p.err, "10.9.0.1 is up on near0\n")
	client := l.Far().UDP(t, 0)
	send(t, client, []byte("anybody?"), nearPort)
	p.signal(unix.SIGUSR1)
	p.signal(unix.SIGTERM)
	p.end(ExitOK, "*", "*")
	if !strings.HasPrefix(p.out.String(), "#outband\n") {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestStatJSON(t *testing.T) {
	_, near := half(t)
	p := near("stat", "--json", "--time", "20ms")
	p.end(ExitOK, "*", "*")
	var got struct {
		Schema   int
		Counters map[string]uint64
	}
	if err := json.Unmarshal([]byte(p.out.String()), &got); err != nil || got.Schema != 1 {
		t.Fatalf("%v: %s", err, p.out)
	}
	for _, name := range []string{"UdpInDatagrams", "UdpNoPorts", "IpReasmOKs", "LinkRxFrames", "LinkRxRingFull"} {
		if _, there := got.Counters[name]; !there {
			t.Errorf("no %s", name)
		}
	}
}

func TestCPUFlag(t *testing.T) {
	_, near := half(t)
	near("stat", "--time", "10ms", "--cpu", "0").end(ExitOK, "*", "*")
	near("stat", "--time", "10ms", "--cpu", "1000").end(ExitFailed, "", "outband: pin to CPU 1000: invalid argument\n")
}

// temporary makes a process put its temporary files where the test looks.
func temporary(dir string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "TMPDIR="+dir) }
}

// nothingLeft fails the test if there is a file in dir, a named namespace that was
// not there before, or a process of this program that is not this one.
func nothingLeft(t *testing.T, dir string, before []string) {
	t.Helper()
	if left := names(dir); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
	for _, name := range names("/run/netns") {
		if !slices.Contains(before, name) && strings.Contains(name, "outband") {
			t.Errorf("namespace left: %s", name)
		}
	}
	for _, pid := range children(t) {
		t.Errorf("process left: %s", pid)
	}
}

func names(dir string) (list []string) {
	entries, _ := os.ReadDir(dir) // a directory that is not there has none
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// children returns the processes that run this test's program, but for this one.
func children(t *testing.T) (pids []string) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	me, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range names("/proc") {
		if exe, err := os.Readlink("/proc/" + pid + "/exe"); err == nil && exe == self && pid != me && pid != "self" && pid != "thread-self" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestDemo(t *testing.T) {
	lab.Need(t)
	dir, before := t.TempDir(), names("/run/netns")
	began := time.Now()
	p := start(t, nil, temporary(dir), "demo")
	p.end(ExitOK, "*", "")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	nothingLeft(t, dir, before)
	checkDemo(t, p.out.String())
}

// checkDemo checks what a demo says.
func checkDemo(t *testing.T, text string) {
	t.Helper()
	for _, want := range []string{
		"\n1. Neighbours", " ok  kernel  10.9.0.1 dev far0 lladdr 02:00:0a:09:00:01 REACHABLE\n", " ok  ours    10.9.0.2 dev near0 lladdr 02:00:0a:09:00:02 REACHABLE\n",
		"\n2. Ping", " ok  ours -> kernel  3 of 3 replies, ttl=64, rtt min/avg/max/mdev = ", " ok  kernel -> ours  3 of 3 replies, ttl=64, rtt min/avg/max/mdev = ",
		"\n3. UDP", " ok  ours -> kernel -> ours    1, 64, 512, 1472, 1473, 9000, 32768, 65507 bytes\n", " ok  kernel -> ours -> kernel  the same; either end refuses 65508 bytes with EMSGSIZE\n",
		"we cut 8 datagrams into 154 and put 8 together\n",
		"\n4. Port unreachable", " ok  ours -> kernel, port 9: the next call returns ECONNREFUSED\n", " ok  kernel -> ours, port 9: the same",
		"\n5. Capture", "demo.pcapng: ", "; read back: ",
		"\n6. Round trips", " ok  medians of ", "\n     ring ", "\n     outband-spin ", "\n     go-net ",
		"\nAll is well, after ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if lines := strings.Count(text, "\n"); lines > 45 || strings.Contains(text, "FAILED") || strings.Contains(text, "\x1b") {
		t.Errorf("%d lines", lines)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s", text)
	}
}

// TestDemoJSON runs the demo as nobody special, in a user namespace, if there are
// such; else as it is.
func TestDemoJSON(t *testing.T) {
	lab.Need(t) // to become nobody takes root
	dir, kept := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, kept, dir + "/.."} { // they are this user's alone
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	file := kept + "/demo.pcapng"
	p := start(t, nil, func(cmd *exec.Cmd) {
		temporary(dir)(cmd)
		if userNamespaces() {
			const nobody = 65534
			cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
	}, "demo", "--json", "--capture", file)
	p.end(ExitOK, "*", "")
	var got demo.Report
	if err := json.Unmarshal([]byte(p.out.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, p.out)
	}
	var steps []string
	for _, s := range got.Steps {
		steps = append(steps, s.Name)
	}
	if want := []string{"neighbours", "ping", "datagrams", "unreachable", "capture", "round_trips"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v", steps)
	}
	if got.Schema != 1 || !got.OK || got.Elapsed <= 0 || len(got.RoundTrips) != 8 {
		t.Errorf("%+v", got)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Capture; !c.Kept || c.File != file || c.Bytes != info.Size() || c.Frames != c.In+c.Out || c.In < 100 || c.Out < 100 {
		t.Errorf("%+v", c)
	}
	nothingLeft(t, dir, names("/run/netns"))
}

// userNamespaces reports whether this system lets processes make them.
func userNamespaces() bool {
	cmd := exec.Command("/proc/self/exe", "--version")
	cmd.Env = append(os.Environ(), commandMark+"=1")
	inband.EnterUserNamespace(cmd)
	return cmd.Run() == nil
}

func TestDemoInterrupted(t *testing.T) {
	lab.Need(t)
	for _, at := range []string{"1. ", "3. ", "6. "} {
		dir := t.TempDir()
		p := start(t, nil, temporary(dir), "demo")
		p.expect(p.out, "\n"+at)
		p.signal(unix.SIGINT)
		p.end(ExitNo, "*", "outband: interrupted; nothing stays behind\n")
		if strings.Contains(p.out.String(), "FAILED") {
			t.Errorf("stdout:\n%s", p.out)
		}
		nothingLeft(t, dir, names("/run/netns"))
	}
}

func TestDemoCannotRun(t *testing.T) {
	lab.Need(t)
	code, _, err := run("demo", "--capture", "/there/is/no/such/directory")
	if code != ExitFailed || err != "outband: open /there/is/no/such/directory: no such file or directory\n" {
		t.Errorf("code %d, stderr %q", code, err)
	}
}

func TestDemoShow(t *testing.T) {
	var out strings.Builder
	show := &demoShow{out: &out, marks: marks{"+", "-", "<", ">"}, clear: func() {}}
	show.Step("First")
	show.Check(demo.Check{Text: "fine", OK: true})
	show.Check(demo.Check{Text: "not fine", Error: "broken"})
	show.Note("so")
	const want = "\n<1. First>\n +  fine\n -  not fine: broken\n     so\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestUTF8Locale(t *testing.T) {
	tests := []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false}, {"", "", "C", false}, {"", "", "en_US.UTF-8", true}, {"", "C.utf8", "C", true}, {"C", "", "en_US.UTF-8", false},
	}
	for _, tt := range tests {
		t.Setenv("LC_ALL", tt.all)
		t.Setenv("LC_CTYPE", tt.ctype)
		t.Setenv("LANG", tt.lang)
		if got := utf8Locale(); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}
