package pcapng_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/pcapng"
	"github.com/outband/outband/link/pipe"
)

var update = flag.Bool("update", false, "write the golden capture anew")

var (
	macA = link.MAC{2, 0, 0, 0, 0, 1}
	macB = link.MAC{2, 0, 0, 0, 0, 2}
)

const offloads = link.CapChecksum | link.CapGSO

func frame(serial uint64, n int) []byte { return linktest.Frame(macB, macA, serial, n) }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]pcapng.Options{"default": {}, "immediate": {Immediate: true}} {
		t.Run(name, func(t *testing.T) {
			linktest.Test(t, func() (a, b link.Link) {
				x, y := pipe.New(pipe.Options{Caps: offloads})
				w := must[*pcapng.Writer](t)(pcapng.NewWriter(io.Discard, opts))
				return must[*pcapng.Link](t)(w.Wrap(x)), must[*pcapng.Link](t)(pcapng.Wrap(y, io.Discard, opts))
			})
		})
	}
}

// A packet is what a capture says of one frame.
type packet struct {
	data []byte
	info gopacket.CaptureInfo
	opts pcapgo.NgPacketOptions
}

// capture is a file as package pcapgo reads it.
type capture struct {
	packets    []packet
	interfaces []pcapgo.NgInterface
	section    pcapgo.NgSectionInfo
	stats      map[int]pcapgo.NgInterfaceStatistics
}

func parse(t testing.TB, file []byte) capture {
	t.Helper()
	c := capture{stats: map[int]pcapgo.NgInterfaceStatistics{}}
	opts := pcapgo.NgReaderOptions{WantMixedLinkType: true,
		StatisticsCallback: func(id int, s pcapgo.NgInterfaceStatistics) { c.stats[id] = s }}
	r := must[*pcapgo.NgReader](t)(pcapgo.NewNgReader(bytes.NewReader(file), opts))
	for {
		data, info, opts, err := r.ReadPacketDataWithOptions()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c.packets = append(c.packets, packet{data, info, opts})
	}
	for i := range r.NInterfaces() {
		c.interfaces = append(c.interfaces, must[pcapgo.NgInterface](t)(r.Interface(i)))
	}
	c.section = r.SectionInfo()
	return c
}

// clock counts in steps of a second and a nanosecond.
func clock() func() int64 {
	now := int64(1_700_000_000_000_000_000)
	return func() int64 { now += 1_000_000_001; return now }
}

// receiveAll drains a link and returns how many frames there were.
func receiveAll(l link.Link) int {
	var frames [16]link.Frame
	total := 0
	for n := l.Receive(frames[:]); n > 0; n = l.Receive(frames[:]) {
		total += n
		l.Release()
	}
	return total
}

// record writes one exchange that has all there is in it.
func record(t testing.TB, w io.Writer) {
	now := clock()
	x, y := pipe.New(pipe.Options{A: pipe.End{Name: "near0"}, Caps: offloads, Now: now})
	a := must[*pcapng.Link](t)(pcapng.Wrap(x, w, pcapng.Options{Now: now, SnapLen: 700, Application: "outband", Comment: "golden"}))
	partial := func(serial uint64, n int, size uint16) link.TxFrame {
		f := frame(serial, n)
		f[40], f[41] = pseudoSum(f)
		return link.TxFrame{Data: f, PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: size}
	}
	a.Send(frame(1, 60))
	a.SendBatch([]link.TxFrame{partial(2, 101, 0), partial(3, 42+1000, 300)})
	receiveAll(y)
	y.Send(linktest.Frame(macA, macB, 4, 64))
	y.Send(linktest.Frame(link.MAC{255, 255, 255, 255, 255, 255}, macB, 5, 64))
	y.Send(linktest.Frame(link.MAC{1, 0, 0x5e, 0, 0, 1}, macB, 6, 64))
	y.Send(linktest.Frame(link.MAC{2, 9, 9, 9, 9, 9}, macB, 7, 64))
	f := partial(8, 200, 0)
	y.SendBatch([]link.TxFrame{f, partial(9, 42+500, 250)})
	x.Inject(link.Frame{Data: frame(10, 60), Meta: link.Meta{VLAN: true, VLANTCI: 0x6005, VLANTPID: 0x8100, Time: now(), Clock: link.ClockHardware}})
	x.Inject(link.Frame{Data: frame(11, 900), Meta: link.Meta{WireLen: 1400}})
	x.Inject(link.Frame{Data: partial(12, 60, 0).Data, Meta: link.Meta{VLAN: true, Checksum: link.ChecksumPartial, Type: link.Outgoing}})
	receiveAll(a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// pseudoSum returns the sum that stands in the field of a partial checksum.
func pseudoSum(f []byte) (byte, byte) {
	sum := uint32(17 + len(f) - 34)
	for i := 26; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return byte(sum >> 8), byte(sum)
}

const golden = "testdata/exchange.pcapng"

// TestGolden compares the bytes of a capture; go test -update writes them anew.
func TestGolden(t *testing.T) {
	var got bytes.Buffer
	record(t, &got)
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := must[[]byte](t)(os.ReadFile(golden))
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the capture has changed: %d bytes, want %d", got.Len(), len(want))
	}
}

func TestContent(t *testing.T) {
	c := parse(t, must[[]byte](t)(os.ReadFile(golden)))
	type row struct {
		serial         uint64 // 0: a segment
		captured, wire int
		flags          uint32
		vlan           bool
	}
	const in, out = 1, 2
	want := []row{
		{1, 60, 60, out, false},
		{2, 101, 101, out, false},
		{3, 342, 342, out, false}, {0, 342, 342, out, false}, {0, 342, 342, out, false}, {0, 142, 142, out, false},
		{4, 64, 64, in | 1<<2, false},
		{5, 64, 64, in | 3<<2, false},
		{6, 64, 64, in | 2<<2, false},
		{7, 64, 64, in | 4<<2, false},
		{8, 200, 200, in | 4<<2, false},
		{9, 292, 292, in | 4<<2, false}, {0, 292, 292, in | 4<<2, false},
		{10, 64, 64, in | 1<<2, true},
		{11, 700, 1400, in | 1<<2, false},
		{12, 64, 64, out, true},
	}
	if len(c.packets) != len(want) {
		t.Fatalf("%d packets, want %d", len(c.packets), len(want))
	}
	last := int64(0)
	for i, w := range want {
		p := c.packets[i]
		if p.info.CaptureLength != w.captured || p.info.Length != w.wire {
			t.Errorf("packet %d: lengths %d of %d, want %d of %d", i, p.info.CaptureLength, p.info.Length, w.captured, w.wire)
		}
		if p.opts.Flags == nil || p.opts.Flags.ToUint32() != w.flags {
			t.Errorf("packet %d: flags %+v, want %#x", i, p.opts.Flags, w.flags)
		}
		data := p.data
		if w.vlan {
			if binary.BigEndian.Uint16(data[12:]) != 0x8100 {
				t.Errorf("packet %d has no tag", i)
			}
			data = append(bytes.Clone(data[:12]), data[16:]...)
		}
		if serial, ok := linktest.Serial(data); w.serial != 0 && (!ok || serial != w.serial) {
			t.Errorf("packet %d has serial number %d, want %d", i, serial, w.serial)
		}
		if w.captured == w.wire && !linktest.ChecksumOK(data) {
			t.Errorf("packet %d: the UDP checksum is wrong", i)
		}
		at := p.info.Timestamp.UnixNano()
		if at < last || at%1000 == 0 {
			t.Errorf("packet %d at %d after %d: want nanoseconds, in order", i, at, last)
		}
		last = at
	}
	if of := c.interfaces[0]; of.Name != "near0" || of.SnapLength != 700 || of.TimestampResolution != 9 {
		t.Errorf("interface %+v", of)
	}
	if c.section.Application != "outband" || c.section.Comment != "golden" {
		t.Errorf("section %+v", c.section)
	}
	if s := c.stats[0]; s.PacketsReceived != 16 || s.PacketsDropped != 0 {
		t.Errorf("statistics %+v", s)
	}
}

// TestOtherReaders lets programs that others wrote judge the file.
func TestOtherReaders(t *testing.T) {
	t.Run("tshark", func(t *testing.T) {
		path, err := exec.LookPath("tshark")
		if err != nil {
			t.Skip("tshark is not installed")
		}
		out, err := exec.Command(path, "-r", golden, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
			"-T", "fields", "-e", "frame.time_epoch", "-e", "frame.packet_flags_direction", "-e", "udp.checksum.status",
			"-e", "ip.checksum.status", "-e", "frame.cap_len", "-e", "vlan.id").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		rows := 0
		for line := range strings.Lines(string(out)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if len(fields) != 6 {
				continue // a remark, such as that it runs as root
			}
			rows++
			if fields[2] != "1" && fields[4] != "700" || fields[3] != "1" {
				t.Errorf("packet %d: checksum states %q", rows, fields)
			}
			if strings.HasSuffix(fields[0], "000000") {
				t.Errorf("packet %d: no nanoseconds in %s", rows, fields[0])
			}
		}
		if rows != 16 {
			t.Errorf("%d packets, want 16:\n%s", rows, out)
		}
	})
	t.Run("tcpdump", func(t *testing.T) {
		path, err := exec.LookPath("tcpdump")
		if err != nil {
			t.Skip("tcpdump is not installed")
		}
		out, err := exec.Command(path, "-n", "-vv", "-r", golden, "--time-stamp-precision=nano").Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if n := strings.Count(string(out), "udp sum ok"); n != 15 {
			t.Errorf("%d packets with a valid checksum, want 15:\n%s", n, out)
		}
	})
}

func TestSnapLenCutsEverywhere(t *testing.T) {
	for snap := 1; snap < 70; snap++ {
		var file bytes.Buffer
		x, _ := pipe.New(pipe.Options{Caps: offloads})
		l := must[*pcapng.Link](t)(pcapng.Wrap(x, &file, pcapng.Options{SnapLen: snap}))
		meta := link.Meta{VLAN: true, VLANTCI: 7, Checksum: link.ChecksumPartial}
		x.Inject(link.Frame{Data: frame(1, 60), Meta: meta})
		x.Inject(link.Frame{Data: frame(2, 60)})
		x.Inject(link.Frame{Data: []byte{1, 2, 3}, Meta: meta})
		receiveAll(l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for i, n := range []int{64, 60, 3} {
			p := parse(t, file.Bytes()).packets[i]
			if p.info.Length != n || p.info.CaptureLength != min(n, snap) {
				t.Errorf("snap length %d: packet %d has %d of %d bytes", snap, i, p.info.CaptureLength, p.info.Length)
			}
		}
	}
}

// TestOrderOfTime records a sent frame after the answer to it, as happens when the
// answer is received before Send returns.
func TestOrderOfTime(t *testing.T) {
	var file bytes.Buffer
	now := int64(0)
	x, _ := pipe.New(pipe.Options{})
	early := must[*pcapng.Writer](t)(pcapng.NewWriter(&file, pcapng.Options{Now: func() int64 { now++; return now }}))
	l := must[*pcapng.Link](t)(early.Wrap(x))
	for _, at := range []int64{50, 20, 40, 20, 10} {
		x.Inject(link.Frame{Data: frame(uint64(at), 60), Meta: link.Meta{Time: at, Clock: link.ClockSoftware}})
	}
	receiveAll(l)
	second, _ := pipe.New(pipe.Options{})
	l2 := must[*pcapng.Link](t)(early.Wrap(second)) // its description stands before its packets
	second.Inject(link.Frame{Data: frame(5, 60), Meta: link.Meta{Time: 5, Clock: link.ClockSoftware}})
	receiveAll(l2)
	if err := early.Close(); err != nil {
		t.Fatal(err)
	}
	c := parse(t, file.Bytes())
	var got []int64
	for _, p := range c.packets {
		got = append(got, p.info.Timestamp.UnixNano())
	}
	want := []int64{10, 20, 20, 40, 50, 5} // what was written is written
	if len(got) != len(want) || len(c.interfaces) != 2 {
		t.Fatalf("times %v, %d interfaces", got, len(c.interfaces))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("times %v, want %v", got, want)
		}
	}
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var errDisk = errors.New("disk full")

func TestWriterFails(t *testing.T) {
	if _, err := pcapng.Wrap(nil, writerFunc(func([]byte) (int, error) { return 0, errDisk }), pcapng.Options{}); !errors.Is(err, errDisk) {
		t.Errorf("Wrap = %v", err)
	}
	for name, bad := range map[string]writerFunc{
		"error": func([]byte) (int, error) { return 0, errDisk },
		"short": func(b []byte) (int, error) { return len(b) - 1, nil },
	} {
		t.Run(name, func(t *testing.T) {
			works := true
			w := writerFunc(func(b []byte) (int, error) {
				if works {
					return len(b), nil
				}
				return bad(b)
			})
			x, y := pipe.New(pipe.Options{})
			l := must[*pcapng.Link](t)(pcapng.Wrap(x, w, pcapng.Options{}))
			works = false
			if err := l.Send(frame(1, 60)); err != nil {
				t.Errorf("Send = %v", err)
			}
			first := l.Flush()
			if first == nil || l.Err() != first {
				t.Errorf("Flush = %v, Err = %v", first, l.Err())
			}
			works = true
			if err := l.Send(frame(2, 60)); err != nil {
				t.Errorf("Send = %v", err)
			}
			if n := receiveAll(y); n != 2 {
				t.Errorf("%d frames arrived, want 2", n)
			}
			if c := l.Counters(); c != (pcapng.Counters{Captured: 1, Dropped: 1}) {
				t.Errorf("Counters = %+v", c)
			}
			if err := l.Close(); !errors.Is(err, first) {
				t.Errorf("Close = %v", err)
			}
		})
	}
}

// TestSlowWriter shows that frames pass, and are counted, while a write is stuck.
func TestSlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		stuck := make(chan struct{})
		block := false
		w := writerFunc(func(b []byte) (int, error) {
			if block {
				<-stuck
			}
			return file.Write(b)
		})
		x, y := pipe.New(pipe.Options{})
		l := must[*pcapng.Link](t)(pcapng.Wrap(x, w, pcapng.Options{Buffer: 2000, Immediate: true}))
		block = true
		l.Send(frame(0, 60))
		synctest.Wait() // the timer's goroutine is stuck
		for i := range 100 {
			if err := l.Send(frame(uint64(i+1), 60)); err != nil {
				t.Fatal(err)
			}
		}
		if n := receiveAll(y); n != 101 {
			t.Errorf("%d frames arrived", n)
		}
		before := l.Counters()
		if before.Dropped == 0 || before.Captured+before.Dropped != 101 {
			t.Errorf("Counters = %+v", before)
		}
		close(stuck)
		synctest.Wait()
		l.Send(frame(200, 60))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		c := parse(t, file.Bytes())
		if uint64(len(c.packets)) != before.Captured+1 {
			t.Errorf("%d packets, want %d", len(c.packets), before.Captured+1)
		}
		if last := c.packets[len(c.packets)-1].opts.DropCount; last == nil || *last != before.Dropped {
			t.Errorf("epb_dropcount %v, want %d", last, before.Dropped)
		}
		if s := c.stats[0]; s.PacketsDropped != before.Dropped || s.PacketsReceived != 102 {
			t.Errorf("statistics %+v", s)
		}
	})
}

// TestWhenWritten shows in simulated time when the buffer is written.
func TestWhenWritten(t *testing.T) {
	tests := []struct {
		name   string
		opts   pcapng.Options
		frames int
		after  time.Duration
	}{
		{"interval", pcapng.Options{}, 1, 200 * time.Millisecond},
		{"interval given", pcapng.Options{FlushInterval: 3 * time.Second}, 9, 3 * time.Second},
		{"packets", pcapng.Options{FlushPackets: 5, FlushInterval: time.Hour}, 5, 0},
		{"fewer packets", pcapng.Options{FlushPackets: 5, FlushInterval: time.Hour}, 4, time.Hour},
		{"immediate", pcapng.Options{Immediate: true, FlushInterval: time.Hour}, 1, 0},
		{"size", pcapng.Options{FlushInterval: time.Hour}, 200, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				written := time.Duration(-1)
				start := time.Now()
				armed := false
				w := writerFunc(func(b []byte) (int, error) {
					if armed && written < 0 {
						written = time.Since(start)
					}
					return len(b), nil
				})
				x, _ := pipe.New(pipe.Options{})
				l := must[*pcapng.Link](t)(pcapng.Wrap(x, w, tt.opts))
				armed = true
				for i := range tt.frames {
					l.Send(frame(uint64(i), 1400))
				}
				time.Sleep(2 * time.Hour)
				l.Flush() // nothing; but the race detector sees it wait for the writer
				if written != tt.after {
					t.Errorf("written after %v, want %v", written, tt.after)
				}
				l.Close()
			})
		})
	}
}

func TestClosedWriter(t *testing.T) {
	var file bytes.Buffer
	w := must[*pcapng.Writer](t)(pcapng.NewWriter(&file, pcapng.Options{}))
	x, y := pipe.New(pipe.Options{})
	l := must[*pcapng.Link](t)(w.Wrap(x))
	if l.Unwrap() != link.Link(x) {
		t.Error("Unwrap is not what was wrapped")
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n := file.Len()
	if err := l.Send(frame(1, 60)); err != nil || receiveAll(y) != 1 {
		t.Errorf("Send after the capture's end = %v", err)
	}
	w.Flush()
	if file.Len() != n {
		t.Error("something was written after Close")
	}
	if _, err := w.Wrap(y); !errors.Is(err, pcapng.ErrClosed) {
		t.Errorf("Wrap after Close = %v", err)
	}
	l.Close()
	if err := l.Send(frame(1, 60)); err == nil {
		t.Error("Send after the link's Close worked")
	}
}

func BenchmarkSend(b *testing.B) {
	for _, captured := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "captured"}[captured], func(b *testing.B) {
			x, y := pipe.New(pipe.Options{Now: func() int64 { return 1 }})
			var l link.Link = x
			if captured {
				l = must[*pcapng.Link](b)(pcapng.Wrap(x, io.Discard, pcapng.Options{}))
			}
			data := frame(1, 64)
			var frames [4]link.Frame
			b.ReportAllocs()
			for b.Loop() {
				l.Send(data)
				y.Receive(frames[:])
				y.Release()
			}
			l.Close()
		})
	}
}
