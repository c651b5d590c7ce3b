package cli

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

func TestNetUsage(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // in stderr
	}{
		{"no device", []string{"recv", "--port", "9", "--addr", "10.9.0.1/24"}, "needs a network device: --dev"},
		{"gateway without an address", []string{"recv", "--port", "9", "--dev", "lo", "--gateway", "10.9.0.1"}, "--gateway is for an address of our own"},
		{"no ring for an address of our own", []string{"recv", "--port", "9", "--dev", "near0", "--addr", "10.9.0.1/24", "--no-lo"}, "--no-lo is for shared addresses"},
		{"rung for an address of our own", []string{"recv", "--port", "9", "--dev", "near0", "--addr", "10.9.0.1/24", "--require", "tcx"}, "--require is for shared addresses"},
		{"no such rung", []string{"recv", "--port", "9", "--dev", "near0", "--require", "xdp"}, `"xdp" is not tcx, nft or holder`},
		{"no such device to share", []string{"recv", "--port", "9", "--dev", "none0"}, "none0: no such device"},
		{"no prefix length", []string{"stat", "--addr", "10.9.0.1"}, "is not an IPv4 address with a prefix length"},
		{"IPv6", []string{"stat", "--addr", "::1/64"}, "is not an IPv4 address with a prefix length"},
		{"gateway of words", []string{"stat", "--gateway", "router"}, `"router" is not an IPv4 address`},
		{"bad spin", []string{"stat", "--spin", "sometimes"}, `"sometimes" is neither seconds nor a duration such as 1.5s, 200ms or 2h, always, never or default`},
		{"negative spin", []string{"stat", "--spin", "-1s"}, "must not be negative"},
		{"no port", []string{"recv"}, `required flag(s) "port" not set`},
		{"send nowhere", []string{"send", "far"}, `"far" is not an IPv4 address and a port`},
		{"send to port 0", []string{"send", "10.9.0.2:0"}, "is not an IPv4 address and a port"},
		{"ping a name", []string{"ping", "far"}, `"far" is not an IPv4 address`},
		{"neigh of a name", []string{"neigh", "far"}, `"far" is not an IPv4 address`},
		{"ping too large", []string{"ping", "10.9.0.2", "-s", "65508"}, "must be a number from 0 to 65507"},
		{"ping count", []string{"ping", "10.9.0.2", "-c", "0"}, `invalid argument "0" for "-c, --count" flag: must be a number from 1 to`},
		{"ping pattern", []string{"ping", "10.9.0.2", "-p", "xyz"}, "must be from 1 to 16 bytes in hexadecimal"},
		{"ping discovery", []string{"ping", "10.9.0.2", "-M", "maybe"}, "must be do, want, dont or probe"},
		{"ping TTL", []string{"ping", "10.9.0.2", "-t", "0"}, "must be a number from 1 to 255"},
		{"ping for a negative time", []string{"ping", "10.9.0.2", "-w", "-1"}, "must not be negative"},
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

// replyLine is a reply as ping(8) prints it.
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
	near("ping", "10.9.0.255").end(ExitFailed, "", "outband: 10.9.0.255 is a broadcast address: permission denied; ping takes -b for it\n")
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
	near("stat", "--time", "10ms", "--cpu", "1000").end(ExitFailed, "", "*")
	code, _, err := run("bench", "rtt", "--cpu", "0,1000")
	if want := "outband: --cpu 1000: must be one of those that this process may use: 0"; code != ExitFailed || !strings.HasPrefix(err, want) {
		t.Errorf("exit code %d, %s", code, err)
	}
}

// TestInterruptedProbe has Ctrl-C come while the address is asked for.
func TestInterruptedProbe(t *testing.T) {
	l, near := half(t)
	wire := l.Far().Packet(t)
	p := near("stat", "--probe", "1h")
	wire.Want(t, lab.EtherType(unix.ETH_P_ARP))
	p.signal(unix.SIGINT)
	p.end(ExitNo, "", "outband: interrupted while asking whether somebody has 10.9.0.1\n")
}

// TestPingLetters: each option of ping(8) is here, or there is a word why not.
func TestPingLetters(t *testing.T) {
	const iputils = "346aAbBcCdDefFhHiIlLmMnNOpqQrRsStTUvVwW"
	here := (&app{}).ping().Flags()
	for _, r := range iputils {
		letter := string(r)
		code, _, err := run("ping", "10.9.0.2", "-"+letter)
		explained := code == ExitFailed && strings.HasPrefix(err, "outband: ping: -"+letter+" is not here: ")
		if known := letter == "h" || here.ShorthandLookup(letter) != nil; known == explained {
			t.Errorf("-%s: here %t, stderr %s", letter, known, err)
		}
	}
	if code, _, err := run("ping", "10.9.0.2", "-z"); code != ExitFailed || err != "outband: unknown shorthand flag: 'z' in -z\nTry 'outband ping --help'\n" {
		t.Errorf("code %d, %s", code, err)
	}
}

// TestPingBroadcast warns as ping(8) does.
func TestPingBroadcast(t *testing.T) {
	_, near := half(t)
	for _, dest := range []string{"10.9.0.255", "255.255.255.255"} {
		p := near("ping", dest, "-b", "-c", "1", "-W", "0.01")
		p.end(ExitNo, "*", "WARNING: pinging broadcast address\n")
	}
}
