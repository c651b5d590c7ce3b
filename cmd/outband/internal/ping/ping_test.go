package ping

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fake is a network with a clock of its own: only Recv lets time pass.
type fake struct {
	now     time.Time
	delay   time.Duration // of every reply
	lost    []int         // sequence numbers without a reply
	twice   []int         // with two
	refused map[int]error // with an error instead
	sendErr error
	ttl     int
	from    netip.Addr
	options ipv4.Options
	change  func(message []byte) []byte // of replies
	waiting []arrival
	onRecv  func(f *fake)
}

type arrival struct {
	at      time.Time
	message []byte
	err     error
}

func (f *fake) Send(message []byte) error {
	if f.sendErr != nil {
		return f.sendErr
	}
	seq := int(message[6])<<8 | int(message[7])
	reply := bytes.Clone(message)
	reply[0] = echoReply
	if f.change != nil {
		reply = f.change(reply)
	}
	at := f.now.Add(f.delay)
	switch {
	case f.refused[seq] != nil:
		f.waiting = append(f.waiting, arrival{at: at, err: f.refused[seq]})
	case !slices.Contains(f.lost, seq):
		f.waiting = append(f.waiting, arrival{at: at, message: reply})
		if slices.Contains(f.twice, seq) {
			f.waiting = append(f.waiting, arrival{at: at.Add(f.delay), message: reply})
		}
	}
	return nil
}

func (f *fake) MTU() int { return 1400 }

func (f *fake) Recv(buf []byte, within time.Duration) (Message, error) {
	if f.onRecv != nil {
		f.onRecv(f)
	}
	end := f.now.Add(within)
	if len(f.waiting) == 0 || f.waiting[0].at.After(end) {
		f.now = end
		return Message{}, unix.EAGAIN
	}
	a := f.waiting[0]
	f.waiting = f.waiting[1:]
	if a.at.After(f.now) {
		f.now = a.at
	}
	return Message{Len: copy(buf, a.message), TTL: f.ttl, From: f.from, Options: f.options}, a.err
}

// start is 2001-09-09T01:46:40Z.
var start = time.Unix(1e9, 0)

// base is a run of three requests.
func base(f *fake) Config {
	return Config{Name: "far", Addr: netip.MustParseAddr("10.9.0.2"), Local: netip.MustParseAddr("10.9.0.1"), Count: 3, Interval: time.Second,
		Linger: 10 * time.Second, Size: 56, Now: func() time.Time { return f.now }}
}

func TestOutput(t *testing.T) {
	tests := []struct {
		name     string
		fake     fake
		change   func(*Config)
		answered bool
	}{
		{name: "plain", fake: fake{delay: 45 * time.Microsecond, ttl: 64}, answered: true},
		{name: "no-ttl", fake: fake{delay: 45 * time.Microsecond}, answered: true},
		{name: "from", fake: fake{delay: time.Millisecond}, change: func(c *Config) { c.From = "10.9.0.1 near0" }, answered: true},
		{name: "some-lost", fake: fake{delay: time.Millisecond, lost: []int{2}}, answered: true},
		{name: "all-lost", fake: fake{lost: []int{1, 2, 3}}},
		{name: "waiting", fake: fake{delay: time.Millisecond, lost: []int{1, 3}}, change: func(c *Config) { c.Waiting = true }, answered: true},
		{name: "duplicates", fake: fake{delay: 2 * time.Millisecond, twice: []int{1, 2}}, answered: true},
		{name: "unreachable", fake: fake{delay: time.Millisecond,
			refused: map[int]error{1: unix.EHOSTUNREACH, 2: unix.ENETUNREACH, 3: unix.ECONNREFUSED}}},
		// One error for all requests that wait for the neighbour; not for what
		// was answered, nor for the first, which was lost before that.
		{name: "unreachable-together", fake: fake{delay: 2500 * time.Millisecond, lost: []int{1, 5}, refused: map[int]error{6: unix.EHOSTUNREACH}},
			change: func(c *Config) { c.Count = 6; c.Deadline = 20 * time.Second }, answered: false},
		{name: "unreachable-deadline", fake: fake{delay: time.Millisecond, refused: map[int]error{1: unix.ENOPROTOOPT}},
			change: func(c *Config) { c.Deadline = 10 * time.Second }},
		{name: "no-route", fake: fake{sendErr: unix.ENETUNREACH}},
		{name: "quiet", fake: fake{delay: 20 * time.Millisecond}, change: func(c *Config) { c.Quiet = true }, answered: true},
		{name: "stamps", fake: fake{delay: 150 * time.Millisecond}, change: func(c *Config) { c.Stamps = true }, answered: true},
		{name: "deadline", fake: fake{delay: time.Millisecond}, change: func(c *Config) { c.Count = 0; c.Deadline = 2500 * time.Millisecond }, answered: true},
		{name: "deadline-and-count", fake: fake{delay: time.Millisecond, lost: []int{2, 3}},
			change: func(c *Config) { c.Deadline = 2500 * time.Millisecond }},
		{name: "deadline-and-count-met", fake: fake{delay: time.Millisecond, lost: []int{2}},
			change: func(c *Config) { c.Deadline = 25 * time.Second }, answered: true},
		{name: "largest", fake: fake{delay: 999 * time.Microsecond}, change: func(c *Config) { c.Size = MaxSize; c.Count = 1 }, answered: true},
		{name: "no-data", fake: fake{delay: 11 * time.Millisecond}, change: func(c *Config) { c.Size = 0; c.Count = 1 }, answered: true},
		{name: "too-long", fake: fake{sendErr: unix.EMSGSIZE}},
		{name: "frag-needed", fake: fake{delay: time.Millisecond, refused: map[int]error{2: unix.EMSGSIZE}}, answered: true},
		{name: "pattern", fake: fake{delay: time.Millisecond, change: func(m []byte) []byte { m[icmpHeader+4] = 1; return m }},
			change: func(c *Config) { c.Pattern, c.Count = []byte{0xde, 0xad, 0xbf}, 1 }, answered: true},
		{name: "route", fake: fake{delay: time.Millisecond, options: ipv4.Options{1, 7, 15, 12, 10, 9, 0, 2, 10, 9, 0, 1, 0, 0, 0, 0}},
			change: func(c *Config) { c.Options, c.Count = 40, 2 }, answered: true},
		{name: "many", fake: fake{delay: time.Millisecond, from: netip.MustParseAddr("10.9.0.7")},
			change: func(c *Config) { c.Addr, c.Count = netip.MustParseAddr("10.9.0.255"), 1 }, answered: true},
		{name: "preload", fake: fake{delay: 1500 * time.Millisecond}, change: func(c *Config) { c.Preload, c.Count = 3, 5 }, answered: true},
		{name: "flood", fake: fake{delay: 4 * time.Millisecond, lost: []int{2}, refused: map[int]error{3: unix.EHOSTUNREACH}},
			change: func(c *Config) { c.Flood, c.Interval, c.Count, c.Deadline = true, 0, 5, 0 }, answered: true},
		{name: "flood-quiet", fake: fake{delay: 4 * time.Millisecond}, change: func(c *Config) { c.Flood, c.Interval, c.Quiet = true, 0, true }, answered: true},
		{name: "adaptive", fake: fake{delay: 30 * time.Millisecond}, change: func(c *Config) { c.Adaptive = true }, answered: true},
		{name: "wrong-data", fake: fake{delay: time.Millisecond, change: func(m []byte) []byte { m[icmpHeader+9]++; return m }},
			change: func(c *Config) { c.Count = 1 }, answered: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.fake
			f.now = start
			c := base(&f)
			if tt.change != nil {
				tt.change(&c)
			}
			var out bytes.Buffer
			stats, err := Run(context.Background(), c, &f, &out, &out, nil)
			if err != nil {
				t.Fatal(err)
			}
			stats.Print(&out)
			if got := stats.Answered(c); got != tt.answered {
				t.Errorf("answered: %t", got)
			}
			golden(t, tt.name+".txt", out.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestJSON(t *testing.T) {
	for name, f := range map[string]*fake{
		"answered.json": {delay: 45 * time.Microsecond, ttl: 64, lost: []int{2}, twice: []int{3}},
		"silent.json":   {lost: []int{1, 2, 3}},
	} {
		f.now = start
		stats, err := Run(context.Background(), base(f), f, new(bytes.Buffer), new(bytes.Buffer), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(stats, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(text, '\n'))
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fake{now: start, delay: time.Millisecond}
	f.onRecv = func(f *fake) {
		if f.now.Sub(start) > 1500*time.Millisecond {
			cancel()
		}
	}
	c := base(f)
	c.Count = 0
	stats, err := Run(ctx, c, f, new(bytes.Buffer), new(bytes.Buffer), nil)
	if err != nil || stats.Transmitted != 2 || stats.Received != 2 || !stats.Answered(c) {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestRunningSummary(t *testing.T) {
	f := &fake{now: start, delay: 1500 * time.Microsecond, lost: []int{2}}
	status := make(chan struct{}, 2)
	status <- struct{}{}
	f.onRecv = func(f *fake) {
		if f.now.Sub(start) > 1450*time.Millisecond && f.now.Sub(start) < 1550*time.Millisecond {
			status <- struct{}{}
		}
	}
	var errOut bytes.Buffer
	if _, err := Run(context.Background(), base(f), f, new(bytes.Buffer), &errOut, status); err != nil {
		t.Fatal(err)
	}
	want := "\r0/1 packets, 100% loss\n\r1/2 packets, 50% loss, min/avg/ewma/max = 1.500/1.500/1.500/1.500 ms\n"
	if errOut.String() != want {
		t.Errorf("got %q, want %q", errOut.String(), want)
	}
}

func TestErrorsThatEndARun(t *testing.T) {
	f := &fake{now: start, sendErr: unix.EINVAL}
	if _, err := Run(context.Background(), base(f), f, new(bytes.Buffer), nil, nil); err != unix.EINVAL {
		t.Errorf("send: %v", err)
	}
	f = &fake{now: start, refused: map[int]error{1: errors.New("broken")}}
	if _, err := Run(context.Background(), base(f), f, new(bytes.Buffer), nil, nil); err == nil || err.Error() != "broken" {
		t.Errorf("receive: %v", err)
	}
}

func TestForeignMessages(t *testing.T) {
	for name, change := range map[string]func(m []byte) []byte{
		"short":           func(m []byte) []byte { return m[:7] },
		"a request":       func(m []byte) []byte { m[0] = echoRequest; return m },
		"never requested": func(m []byte) []byte { m[7] = 99; return m },
	} {
		f := &fake{now: start, change: change}
		c := base(f)
		c.Count = 1
		stats, err := Run(context.Background(), c, f, new(bytes.Buffer), nil, nil)
		if err != nil || stats.Received != 0 {
			t.Errorf("%s: %+v, %v", name, stats, err)
		}
	}
}

func TestFullQueueIsALoss(t *testing.T) {
	f := &fake{now: start, sendErr: unix.ENOBUFS}
	stats, err := Run(context.Background(), base(f), f, new(bytes.Buffer), nil, nil)
	if err != nil || stats.Transmitted != 3 || stats.Received != 0 || stats.Errors != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestSlowNetworkGetsNoBurst(t *testing.T) {
	f := &fake{now: start, delay: time.Millisecond}
	f.onRecv = func(f *fake) {
		if at := f.now.Sub(start); at > time.Second && at < 2*time.Second {
			f.now = f.now.Add(5 * time.Second) // this process was not run
		}
	}
	c := base(f)
	c.Count = 4
	stats, err := Run(context.Background(), c, f, new(bytes.Buffer), nil, nil)
	if err != nil || stats.Received != 4 || stats.Elapsed < 7*time.Second {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestMilliseconds(t *testing.T) {
	tests := []struct {
		in   time.Duration
		want string
	}{
		{0, "0.000"}, {999, "0.000"}, {45 * time.Microsecond, "0.045"}, {999 * time.Microsecond, "0.999"},
		{1000 * time.Microsecond, "1.00"}, {9994 * time.Microsecond, "9.99"}, {9995 * time.Microsecond, "10.0"},
		{99949 * time.Microsecond, "99.9"}, {99950 * time.Microsecond, "100"}, {1234567 * time.Microsecond, "1235"},
	}
	for _, tt := range tests {
		if got := milliseconds(tt.in); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestManyRequestsWrapAround(t *testing.T) {
	f := &fake{now: start, delay: time.Microsecond}
	c := base(f)
	c.Count, c.Interval = 1<<16+10, 0
	var out bytes.Buffer
	stats, err := Run(context.Background(), c, f, &out, nil, nil)
	if err != nil || stats.Received != c.Count || stats.Duplicates != 0 {
		t.Errorf("%d received, %d duplicates, %v", stats.Received, stats.Duplicates, err)
	}
	if strings.Contains(out.String(), "DUP") || len(stats.Replies) != keepReplies {
		t.Errorf("%d replies kept", len(stats.Replies))
	}
}
