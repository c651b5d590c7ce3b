package latmus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

func TestCRC8(t *testing.T) {
	// The check value of CRC-8/I-432-1 without its final XOR of 0x55.
	if got := crc8([]byte("123456789")); got != 0xf4 {
		t.Errorf("%#x", got)
	}
}

func TestPackets(t *testing.T) {
	for _, size := range []int{MinSize, MinSize + 1, DefaultSize, 1500} {
		for _, serial := range []uint64{0, 1, 0x0123456789abcdef, ^uint64(0)} {
			b := make([]byte, size)
			putPacket(b, serial)
			if got, err := parsePacket(b); got != serial || err != nil {
				t.Errorf("%q: %d, %v", b, got, err)
			}
			for i := range b {
				b[i] ^= 1
				if _, err := parsePacket(b); err == nil {
					t.Errorf("%q: byte %d is wrong", b, i)
				}
				b[i] ^= 1
			}
		}
	}
	b := make([]byte, DefaultSize)
	putPacket(b, 0x2a)
	if got := string(b[:22]); got != "^000000000000002aABCDE" {
		t.Errorf("%q", got)
	}
	if _, err := parsePacket(b[:MinSize-1]); err != errForm {
		t.Errorf("short: %v", err)
	}
}

func FuzzParsePacket(f *testing.F) {
	b := make([]byte, DefaultSize)
	putPacket(b, 7)
	f.Add(b)
	f.Add(b[:MinSize])
	f.Fuzz(func(t *testing.T, b []byte) { parsePacket(b) })
}

// TestSequence feeds serial numbers.
func TestSequence(t *testing.T) {
	tests := []struct {
		name        string
		serials     []uint64
		no          bool
		lost, wrong uint64
		next        uint64
	}{
		{"in order", []uint64{5, 6, 7}, false, 0, 0, 8},
		{"gap", []uint64{5, 9}, false, 3, 0, 10},
		{"twice", []uint64{5, 6, 6, 7}, false, 0, 1, 8},
		{"late", []uint64{5, 7, 6, 8}, false, 1, 1, 9},
		{"anew", []uint64{5, 0, 1}, false, 0, 1, 2},
		{"unchecked", []uint64{5, 9, 3}, true, 0, 0, 4},
	}
	for _, tt := range tests {
		m := &run{Config: Config{NoSequence: tt.no}}
		b := make([]byte, DefaultSize)
		for _, serial := range tt.serials {
			putPacket(b, serial)
			m.check(b)
		}
		if m.r.Lost != tt.lost || m.r.Wrong != tt.wrong || m.next != tt.next {
			t.Errorf("%s: lost %d, wrong %d, next %d", tt.name, m.r.Lost, m.r.Wrong, m.next)
		}
	}
	m := &run{}
	if err := m.check([]byte("hello")); !errors.Is(err, ErrPacket) || m.r.Wrong != 1 {
		t.Errorf("no packet: %v", err)
	}
}

func TestSeries(t *testing.T) {
	s := Series{Cells: make([]uint64, 4)}
	for _, ns := range []int64{2500, 900, -5, 99000} {
		s.add(ns)
	}
	if s.Min != -5 || s.Max != 99000 || s.Mean() != 25598.75 || s.window != 99000 {
		t.Errorf("%+v", s)
	}
	for _, want := range []int64{99000, 0} {
		if worst, any := s.takeWindow(); worst != want || any != (want > 0) {
			t.Errorf("window: %d, %t", worst, any)
		}
	}
	text, err := json.Marshal(&s)
	if want := `{"count":4,"min_us":-0.005,"mean_us":25.599,"max_us":99,"histogram_1us":[2,0,1,1]}`; string(text) != want || err != nil {
		t.Errorf("%s, %v", text, err)
	}
}

func TestPrinter(t *testing.T) {
	var out bytes.Buffer
	p := Printer{Out: &out, Period: time.Millisecond, Priority: 90, CPU: 1, Lines: 1}
	r := &Result{Elapsed: 3661 * time.Second, Switches: 2, Overruns: 3, Sent: 9, Received: 7, Lost: 2}
	for i, s := range r.series() {
		s.Cells = make([]uint64, 3)
		s.add(int64(1000*i + 500))
		s.add(int64(1000 * i))
	}
	p.Second(r)
	p.End(r, time.Hour)
	want := `RTT|  01:01:01  (net, 1000 us period, priority 90, CPU1-noisol)
` + header + `
RTD|     0.500|     1.500|     2.500|     3.500|   2|       3|     1.000|     1.500|     3.000|     3.500
---|----------|----------|----------|----------|----|--------|-------------------------
RTS|     0.500|     1.500|     2.500|     3.500|   2|       3|    01:01:01/01:00:00
# 9 sent, 7 received, 2 lost, 0 wrong
# ---- RX queuing latency histogram, us, 2 packets
RTX|       0|         2
# ---- RX delivery latency histogram, us, 2 packets
RTX|       1|         2
# ---- TX queuing latency histogram, us, 2 packets
RTX|       2|         2
# ---- TX delivery latency histogram, us, 2 packets
RTX|       2|         2
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	if err := Gnuplot(&out, r, time.Millisecond); err != nil || !strings.HasSuffix(out.String(), "\n0 2 0 0 0\n1 0 2 0 0\n2 0 0 2 2\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// end is a socket of a stack of its own.
func end(t *testing.T, l *pipe.Link, addr string) (*sockapi.Socket, netip.AddrPort) {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ifc, err := st.AddLink(l, stack.InterfaceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix(addr)
	if err := ifc.AddAddress(prefix); err != nil {
		t.Fatal(err)
	}
	s, err := sockapi.New(st).Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	if err != nil {
		t.Fatal(err)
	}
	local := netip.AddrPortFrom(prefix.Addr(), Port)
	if err := s.Bind(sockapi.InetAddrPort(local)); err != nil {
		t.Fatal(err)
	}
	return s, local
}

func TestRun(t *testing.T) {
	a, b := pipe.New(pipe.Options{})
	near, nearAddr := end(t, a, "10.9.0.1/24")
	far, farAddr := end(t, b, "10.9.0.2/24")
	c := Config{Period: time.Millisecond, Size: DefaultSize, KeepGoing: true}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	type outcome struct {
		r   *Result
		err error
	}
	done := make(chan outcome)
	c.Peer = nearAddr
	go func(c Config) {
		r, err := Run(ctx, c, far)
		done <- outcome{r, err}
	}(c)
	c.Peer = farAddr
	r, err := Run(ctx, c, near)
	other := <-done
	for _, o := range []outcome{{r, err}, other} {
		// What came before stamping was turned on has no stamp.
		if o.err != nil || o.r.Sent == 0 || o.r.Received == 0 || o.r.Wrong > 0 || o.r.TxUser.Count == 0 ||
			o.r.RxUser.Count == 0 || o.r.RxUser.Count > o.r.Received || o.r.TxSched.Min < 0 || o.r.TxUser.Min < o.r.TxSched.Min {
			t.Errorf("%v, %+v", o.err, o.r)
		}
	}
}

func TestRunEnds(t *testing.T) {
	a, _ := pipe.New(pipe.Options{})
	s, _ := end(t, a, "10.9.0.1/24")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Close()
	c := Config{Peer: netip.MustParseAddrPort("10.9.0.2:59059"), Period: time.Millisecond, Size: DefaultSize}
	if _, err := Run(ctx, c, s); err != unix.EBADF {
		t.Errorf("a closed socket: %v", err)
	}
}

func TestAbort(t *testing.T) {
	m := &run{Config: Config{Abort: 10 * time.Microsecond}}
	if err := m.measured(&m.r.TxSched, 1, &m.r.TxUser, 10001); !errors.Is(err, ErrLatency) {
		t.Error(err)
	}
	if err := m.measured(&m.r.TxSched, 1, &m.r.TxUser, 10000); err != nil {
		t.Error(err)
	}
}

// TestClocksThatDiffer gives stamps that cannot be right: the packets count as such, and no
// latency is made of them.
func TestClocksThatDiffer(t *testing.T) {
	const began = int64(time.Hour)
	now := began + int64(10*time.Second)
	tests := []struct {
		name        string
		device      int64 // of a packet that was taken at now, and delivered 2 us later
		differ      uint64
		difference  int64
		sched, user int64
	}{
		{"alike", now - 5000, 0, 0, 5000, 7000},
		{"rounded", now + 1000, 0, 0, 0, 1000},
		{"later than the arrival", now + 1001, 1, 1001, 0, 0},
		{"an hour later", now + int64(time.Hour), 1, int64(time.Hour), 0, 0},
		{"it waited", began - int64(time.Second) + 2000, 0, 0, now - began + int64(time.Second) - 2000, now - began + int64(time.Second)},
		{"older than the measurement", 0, 1, now + 2000, 0, 0},
	}
	for _, tt := range tests {
		m := &run{Config: Config{Abort: time.Minute}, began: began}
		err := m.arrived(sockapi.IOTimes{Device: tt.device, Queuing: now, Delivery: now + 2000})
		if err != nil || m.r.ClocksDiffer != tt.differ || m.r.ClockDifference != tt.difference ||
			m.r.RxSched.Max != tt.sched || m.r.RxUser.Max != tt.user || m.r.RxSched.Count+tt.differ != 1 {
			t.Errorf("%s: %v, %+v", tt.name, err, m.r)
		}
	}
}

func TestPrinterSaysThatClocksDiffer(t *testing.T) {
	var out bytes.Buffer
	p := Printer{Out: &out, Period: time.Millisecond, CPU: -1, Lines: 100}
	r := &Result{Elapsed: time.Second, Sent: 2, Received: 2, ClocksDiffer: 2, ClockDifference: 3600e9}
	r.TxSched.add(1000)
	r.TxUser.add(2000)
	p.Second(r)
	p.Second(r)
	p.End(r, 0)
	const said = "# the clocks differ: the stamps of 2 packets are off by up to 1h0m0s from this host's clock; they have no rx latency\n"
	want := "RTT|  00:00:01  (net, 1000 us period, priority 0, any CPU)\n" + header + `
RTD|         -|         -|     1.000|     2.000|   0|       0|         -|         -|     2.000|     2.000
` + said + `RTD|         -|         -|         -|         -|   0|       0|         -|         -|     2.000|     2.000
---|----------|----------|----------|----------|----|--------|-------------------------
RTS|         -|         -|     1.000|     2.000|   0|       0|    00:00:01/00:00:00
` + said
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
