package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// mcastEnds are the two ways to receive: the kernel's, and ours.
var mcastEnds = []struct {
	name string
	lab  lab.Config
	args []string
}{
	{"in-band", lab.Config{Kernel: lab.All}, []string{"--dev", "near0", "--in-band"}},
	{"out-of-band", lab.Config{Kernel: lab.Far}, []string{"--dev", "near0", "--addr", "10.9.0.1/24"}},
}

// farSend sends from the far end's kernel.
func farSend(t *testing.T, l *lab.Lab, args ...string) *process {
	t.Helper()
	return start(t, l.Far().Namespace, nil, append([]string{"mcast", "send", "--dev", "far0", "--in-band"}, args...)...)
}

func TestMcastRecv(t *testing.T) {
	for _, end := range mcastEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			p := start(t, l.Near().Namespace, nil, append([]string{"mcast", "recv", "-n", "300", "--seq", "4:2",
				"239.9.0.1:5000", "232.9.0.1@10.9.0.2,10.9.0.7:5000", "232.9.0.2@10.9.0.7:5000"}, end.args...)...)
			p.expect(p.err, "joined 3 groups on near0\n")
			// What comes from another source than was asked for does not count.
			farSend(t, l, "232.9.0.2:5000", "--count", "10", "--size", "6").end(ExitOK, "", "10 datagrams, 60 bytes\n")
			farSend(t, l, "239.9.0.1:5000", "--count", "100", "--size", "20", "--seq", "4:2", "--rate", "10K").end(ExitOK, "", "100 datagrams, 2000 bytes\n")
			farSend(t, l, "232.9.0.1:5000", "--count", "200", "--size", "1400", "--seq", "4:2").end(ExitOK, "", "200 datagrams, 280000 bytes\n")
			p.end(ExitOK, "*", "joined 3 groups on near0\n300 datagrams, 282000 bytes\n")
			want := regexp.MustCompile(`group +datagrams +bytes +rate +gaps +missing +reordered +duplicates +restarts +silence +dropped
239\.9\.0\.1:5000 +100 +2000 +\S+ [kMG]bit/s +0 +0 +0 +0 +0 +\d+\.\d+ s +0
232\.9\.0\.1@10\.9\.0\.2,10\.9\.0\.7:5000 +200 +280000 +\S+ [kMG]bit/s +0 +0 +0 +0 +0 +\d+\.\d+ s +0
232\.9\.0\.2@10\.9\.0\.7:5000 +0 +0 +0\.00 kbit/s +0 +0 +0 +0 +0 +never came +0
`)
			if !want.MatchString(p.out.String()) {
				t.Errorf("stdout:\n%s", p.out)
			}
		})
	}
}

func TestMcastRecvJSON(t *testing.T) {
	for _, end := range mcastEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			p := start(t, l.Near().Namespace, nil, append([]string{"mcast", "recv", "-n", "3", "--seq", "0:1", "--json", "--interval", "1h",
				"239.9.0.1:5000"}, end.args...)...)
			p.expect(p.err, "joined 1 groups on near0\n")
			lines := farSend(t, l, "239.9.0.1:5000")
			fmt.Fprint(lines.in, "A 1\nB 2\nE 3\n")
			lines.in.Close()
			lines.end(ExitOK, "", "3 datagrams, 9 bytes\n")
			p.end(ExitOK, "*", "joined 1 groups on near0\n")
			const want = `{"schema":1,"summary":{"elapsed_ns":0,"datagrams":3,"bytes":9,"groups":[{"group":"239.9.0.1:5000","datagrams":3,"bytes":9,` +
				`"rate_bps":0,"silence_ns":0,"drops":0,"sequence":{"gaps":1,"missing":2,"reordered":0,"duplicates":0,"restarts":0,"short":0},"senders":1}],` +
				`"drop_causes":{}}}` + "\n"
			if got := regexp.MustCompile(`_(ns|bps)":\d+`).ReplaceAllString(p.out.String(), `_$1":0`); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestMcastRecvIntervals runs until Ctrl-C.
func TestMcastRecvIntervals(t *testing.T) {
	for _, end := range mcastEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			p := start(t, l.Near().Namespace, nil, append([]string{"mcast", "recv", "--interval", "50ms",
				"239.9.0.1:5000", "239.9.0.2:5000"}, end.args...)...)
			p.expect(p.out, "s: 0 datagrams, 0 bytes, 0.00 kbit/s, 0 dropped, 2 of 2 groups silent\n")
			farSend(t, l, "239.9.0.1:5000", "hello", "there", "--count", "5").end(ExitOK, "", "5 datagrams, 55 bytes\n")
			p.expect(p.out, ", 1 of 2 groups silent\n")
			p.expect(p.out, ", 2 of 2 groups silent\n")
			p.signal(unix.SIGINT)
			p.end(ExitOK, "*", "joined 2 groups on near0\n5 datagrams, 55 bytes\n")
			if !regexp.MustCompile(`\n239\.9\.0\.1:5000 +5 +55 .*\n239\.9\.0\.2:5000 +0 +0 .* never came +0\n$`).MatchString(p.out.String()) {
				t.Errorf("stdout:\n%s", p.out)
			}
		})
	}
}

// TestMcastRecvSilence: the answer is no if a group brings nothing, or too little.
func TestMcastRecvSilence(t *testing.T) {
	for _, end := range mcastEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			args := []string{"mcast", "recv", "239.9.0.1:5000", "239.9.0.2:5000", "--duration", "60ms"}
			start(t, l.Near().Namespace, nil, append(args, end.args...)...).end(ExitNo, "*",
				"joined 2 groups on near0\n0 datagrams, 0 bytes\noutband: nothing came of 239.9.0.1:5000, 239.9.0.2:5000\n")
			start(t, l.Near().Namespace, nil, append(append(args, "-n", "2"), end.args...)...).end(ExitNo, "*",
				"joined 2 groups on near0\n0 datagrams, 0 bytes\noutband: 0 of 2 datagrams came\n")
		})
	}
}

// A dropsLine is what TestMcastRecvDrops reads of an interval or of the summary.
type dropsLine struct {
	Interval struct{ Datagrams, Drops uint64 }
	Summary  struct {
		Datagrams uint64
		Groups    []struct{ Drops uint64 }
		Causes    map[string]uint64 `json:"drop_causes"`
	}
}

func dropsLines(t *testing.T, p *process) (all []dropsLine) {
	t.Helper()
	text := p.out.String()
	for line := range strings.Lines(text[:strings.LastIndex(text, "\n")+1]) {
		var d dropsLine
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, d)
	}
	return all
}

// TestMcastRecvDrops stops the receiver while more comes than its buffer holds: all
// that does not come is counted as dropped.
func TestMcastRecvDrops(t *testing.T) {
	const count = 200
	for _, end := range mcastEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			p := start(t, l.Near().Namespace, nil, append([]string{"mcast", "recv", "239.9.0.1:5000", "--rcvbuf", "4K", "--seq", "0:4",
				"--interval", "20ms", "--json"}, end.args...)...)
			p.expect(p.err, "joined")
			p.signal(unix.SIGSTOP)
			load := farSend(t, l, "239.9.0.1:5000", "--count", fmt.Sprint(count), "--size", "1000", "--rate", "1M", "--seq", "0:4")
			load.end(ExitOK, "", "*")
			p.signal(unix.SIGCONT)
			accounted := func() (n uint64) {
				for _, d := range dropsLines(t, p) {
					n += d.Interval.Datagrams + d.Interval.Drops
				}
				return n
			}
			p.until(p.out, "what became of all", func() bool { return accounted() >= count })
			p.signal(unix.SIGINT)
			p.end(ExitOK, "*", "*")
			all := dropsLines(t, p)
			s := all[len(all)-1].Summary
			drops := s.Groups[0].Drops
			if s.Datagrams+drops != count || s.Causes["UdpRcvbufErrors"] != drops || drops == 0 && end.name == "in-band" {
				t.Errorf("%d datagrams, %d dropped: %v", s.Datagrams, drops, s.Causes)
			}
		})
	}
}

// TestMcastSendFromStack has our stack send, with a load and with lines.
func TestMcastSendFromStack(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	p := start(t, l.Far().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "--dev", "far0", "--in-band", "-n", "52", "--seq", "8:8")
	p.expect(p.err, "joined")
	near := []string{"--dev", "near0", "--addr", "10.9.0.1/24", "--port", "4001"}
	start(t, l.Near().Namespace, nil, append([]string{"mcast", "send", "239.9.0.1:5000", "--count", "50", "--size", "16", "--seq", "8:8", "--json"}, near...)...).
		end(ExitOK, `{"schema":1,"summary":{"datagrams":50,"bytes":800}}`+"\n", "")
	lines := start(t, l.Near().Namespace, nil, append([]string{"mcast", "send", "239.9.0.1:5000"}, near...)...)
	fmt.Fprint(lines.in, "short\nand another that is longer\n")
	lines.in.Close()
	lines.end(ExitOK, "", "2 datagrams, 31 bytes\n")
	p.end(ExitOK, "*", "*")
	if !strings.Contains(p.out.String(), "\n239.9.0.1:5000: 1 datagrams too short for a number\n") {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestMcastSendOptions(t *testing.T) {
	for _, end := range mcastEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			near := func(args ...string) *process {
				t.Helper()
				return start(t, l.Near().Namespace, nil, append(append([]string{"mcast"}, args...), end.args...)...)
			}
			p := start(t, l.Far().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "--dev", "far0", "--in-band", "-n", "1")
			p.expect(p.err, "joined")
			near("send", "239.9.0.1:5000", "--loop=false", "--ttl", "9", "to the others").end(ExitOK, "", "1 datagrams, 13 bytes\n")
			p.end(ExitOK, "*", "joined 1 groups on far0\n1 datagrams, 13 bytes\n")
		})
	}
}

// TestMcastSendLoops has a receiver on the sender's host.
func TestMcastSendLoops(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	p := start(t, l.Far().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "--dev", "far0", "--in-band", "-n", "1")
	p.expect(p.err, "joined")
	farSend(t, l, "239.9.0.1:5000", "--loop=false", "to the others").end(ExitOK, "", "1 datagrams, 13 bytes\n")
	farSend(t, l, "239.9.0.1:5000", "--ttl", "0", "to ourselves").end(ExitOK, "", "1 datagrams, 12 bytes\n")
	p.end(ExitOK, "*", "joined 1 groups on far0\n1 datagrams, 12 bytes\n")
}

func TestMcastSendInterrupted(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	p := farSend(t, l, "239.9.0.1:5000", "--count", "1M", "--rate", "10", "x")
	recv := start(t, l.Near().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "--dev", "near0", "--in-band", "-n", "1")
	recv.end(ExitOK, "*", "*")
	p.signal(unix.SIGINT)
	p.end(ExitOK, "", "*")
	if !regexp.MustCompile(`^\d+ datagrams, \d+ bytes\n$`).MatchString(p.err.String()) {
		t.Errorf("stderr: %s", p.err)
	}
}

func TestMcastGroupsInBand(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	p := start(t, l.Near().Namespace, nil, "mcast", "recv", "239.9.0.1:5000", "232.9.0.1@10.9.0.2:5000", "--dev", "near0", "--in-band")
	p.expect(p.err, "joined")
	groups := func(args ...string) *process {
		return start(t, l.Near().Namespace, nil, append([]string{"mcast", "groups", "--in-band"}, args...)...)
	}
	q := groups("--dev", "near0")
	q.end(ExitOK, "*", "")
	want := regexp.MustCompile(`^\d+:	near0 V3
(?:	inet  .*\n(?:		.*\n)?)*	inet  232\.9\.0\.1 users 1(?: timer \S+)?
		source 10\.9\.0\.2 include 1 exclude 0
	inet  239\.9\.0\.1 users 1 exclude(?: timer \S+)?
	inet  224\.0\.0\.1 users 1 exclude
$`)
	if !want.MatchString(q.out.String()) {
		t.Errorf("stdout:\n%s", q.out)
	}
	p.signal(unix.SIGUSR1)
	p.expect(p.err, "\tinet  239.9.0.1 users 1 exclude")

	q = groups("--json")
	q.end(ExitOK, "*", "")
	if !regexp.MustCompile(`^\{"schema":1,"groups":\[.*"dev":"near0","version":"V3","group":"239\.9\.0\.1","users":1,"mode":"exclude"`).MatchString(q.out.String()) {
		t.Errorf("stdout:\n%s", q.out)
	}
	groups("--dev", "none0").end(ExitOK, "", "")
}

// groupsOfNear are two groups as a stack at the near end has them.
const groupsOfNear = `\d+:	near0 V3
	inet  232\.9\.0\.1 users 1 include(?: timer \S+)?
		source 10\.9\.0\.2 include 1 exclude 0
	inet  239\.9\.0\.1 users 1 exclude(?: timer \S+)?
`

func TestMcastGroups(t *testing.T) {
	_, near := half(t)
	p := near("mcast", "groups", "239.9.0.1:5000", "232.9.0.1@10.9.0.2:5000")
	p.end(ExitOK, "*", "joined 2 groups on near0\n")
	if !regexp.MustCompile("^" + groupsOfNear + "$").MatchString(p.out.String()) {
		t.Errorf("stdout:\n%s", p.out)
	}
	p = near("mcast", "groups", "239.9.0.1:5000", "--json", "--time", "1h")
	p.expect(p.err, "joined 1 groups on near0\n")
	p.signal(unix.SIGUSR1)
	p.expect(p.err, `"group":"239.9.0.1","users":1,"mode":"exclude"`)
	p.signal(unix.SIGINT)
	p.end(ExitOK, "*", "*")
	if !regexp.MustCompile(`^\{"schema":1,"groups":\[\{"ifindex":\d+,"dev":"near0","version":"V3","group":"239\.9\.0\.1","users":1,"mode":"exclude",` +
		`(?:"timer_ns":\d+,)?"reporter":(?:true|false)\}\]\}\n$`).MatchString(p.out.String()) {
		t.Errorf("stdout:\n%s", p.out)
	}
}

// TestMcastRecvGroups prints what is joined while it runs, and at its end.
func TestMcastRecvGroups(t *testing.T) {
	_, near := half(t)
	p := near("mcast", "recv", "239.9.0.1:5000", "232.9.0.1@10.9.0.2:5000", "--groups", "--stat")
	p.expect(p.err, "joined")
	p.signal(unix.SIGUSR1)
	p.expect(p.err, "\tinet  239.9.0.1 users 1 exclude")
	p.signal(unix.SIGINT)
	p.end(ExitOK, "*", "*")
	if !regexp.MustCompile("never came +0\n" + groupsOfNear + "#outband\n").MatchString(p.out.String()) {
		t.Errorf("stdout:\n%s", p.out)
	}
	p = near("mcast", "recv", "239.9.0.1:5000", "--groups", "--json", "--duration", "20ms")
	p.end(ExitNo, "*", "*")
	if !strings.Contains(p.out.String(), `"memberships":[{"ifindex":`) {
		t.Errorf("stdout:\n%s", p.out)
	}
}

func TestMcastUsage(t *testing.T) {
	tests := []struct {
		args, want string
	}{
		{"", "mcast: recv, send or groups"},
		{"listen", `unknown command "listen"`},
		{"recv", "requires at least 1 arg"},
		{"recv 10.9.0.1:5", "is not an IPv4 group and a port"},
		{"recv 239.9.0.1:5", "needs a network device: --dev"},
		{"recv 239.9.0.1:5 --dev lo --gateway 10.9.0.1", "--gateway is for an address of our own"},
		{"recv 239.9.0.1:5 --in-band", "needs a network device: --dev"},
		{"recv 239.9.0.1:5 --in-band --dev none0", "none0: no such device"},
		{"recv 239.9.0.1:5 --in-band --dev lo --addr 10.9.0.1/24", "--addr is for a stack of our own: not with --in-band"},
		{"recv 239.9.0.1:5 --in-band --dev lo --spin always", "--spin is for a stack of our own"},
		{"recv 239.9.0.1:5 --seq 3", "is not OFFSET:WIDTH"},
		{"recv 239.9.0.1:5 --interval 1ms", "--interval: must be 10ms or more"},
		{"recv 239.9.0.1:5 --duration -1s", "must not be negative"},
		{"recv 239.9.0.1:5 -n -1", "must be a number from 0 to "},
		{"send 10.9.0.1:5 hello", "is not an IPv4 group and a port"},
		{"send 239.9.0.1:5 hello --size 5", "--size and a text do not go together"},
		{"send 239.9.0.1:5 --size 5", "--size needs --count"},
		{"send 239.9.0.1:5 --count 5", "--count needs --size, or a text"},
		{"send 239.9.0.1:5 --size 5 --count 5 --seq 2:4", "--seq 2:4: does not fit in 5 bytes"},
		{"send 239.9.0.1:5 hello --seq 2:4", "--seq 2:4: does not fit in 5 bytes"},
		{"send 239.9.0.1:5 --size 70K --count 1", "--size 70000: must be from 0 to 65507"},
		{"send 239.9.0.1:5 hello --rate 0", "--rate: must be 1 or more"},
		{"groups", "mcast groups: needs groups to join, or --in-band"},
		{"groups 239.9.0.1:5 --max-sources 0", `invalid argument "0" for "--max-sources" flag: must be a number from 1 to `},
		{"recv 239.9.0.1:5 --in-band --dev lo --max-sources 20", "--max-sources is for a stack of our own"},
		{"groups --in-band --max-sources 20", "--max-sources does not go together with --in-band"},
		{"groups --in-band --probe 0", "--probe does not go together with --in-band"},
		{"groups more", "is not an IPv4 group and a port"},
		{"groups --in-band 239.9.0.1:5", "--in-band joins nothing"},
		{"groups --in-band --time 1s", "--time does not go together with --in-band"},
	}
	for _, tt := range tests {
		code, out, err := run(append([]string{"mcast"}, strings.Fields(tt.args)...)...)
		if code != ExitFailed || out != "" || !strings.HasPrefix(err, "outband: ") || !strings.Contains(err, tt.want) {
			t.Errorf("mcast %s: code %d, stdout %q, stderr %q", tt.args, code, out, err)
		}
	}
}

// TestMaxSources joins a group with one source more than Linux' limit.
func TestMaxSources(t *testing.T) {
	_, near := half(t)
	sources := make([]string, defaultSources+1)
	for i := range sources {
		sources[i] = fmt.Sprintf("10.9.0.%d", 10+i)
	}
	target := "232.9.0.1@" + strings.Join(sources, ",") + ":5000"
	for _, command := range []string{"recv", "groups"} {
		args := []string{"mcast", command, target}
		if command == "recv" {
			args = append(args, "--duration", "10ms")
		}
		p := near(args...)
		p.end(ExitFailed, "", "*")
		for _, want := range []string{"source 10.9.0.20: no buffer space available", "--max-sources 10"} {
			if !strings.Contains(p.err.String(), want) {
				t.Errorf("%s: no %q in %s", command, want, p.err)
			}
		}
		p = near(append(args, "--max-sources", "11")...)
		p.expect(p.err, "joined 1 groups on near0\n")
		p.wait()
	}
}
