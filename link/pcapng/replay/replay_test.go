package replay_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/pcapng"
	"github.com/outband/outband/link/pcapng/replay"
)

// golden is what package pcapng's tests record.
const golden = "../testdata/exchange.pcapng"

var (
	macA = link.MAC{2, 0, 0, 0, 0, 1}
	macB = link.MAC{2, 0, 0, 0, 0, 2}
)

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

// all returns copies of all frames of a link, received in batches of three.
func all(l link.Link) []link.Frame {
	var out []link.Frame
	var frames [3]link.Frame
	for n := l.Receive(frames[:]); n > 0; n = l.Receive(frames[:]) {
		for _, f := range frames[:n] {
			f.Data = bytes.Clone(f.Data)
			out = append(out, f)
		}
		l.Release()
	}
	return out
}

func TestReadGolden(t *testing.T) {
	file := must[[]byte](t)(os.ReadFile(golden))
	tests := []struct {
		direction replay.Direction
		want      int
	}{{replay.Any, 16}, {replay.Inbound, 9}, {replay.Outbound, 7}}
	for _, tt := range tests {
		r := must[*replay.Link](t)(replay.Open(bytes.NewReader(file), replay.Options{Direction: tt.direction, MAC: macA}))
		if info := r.Info(); info.Name != "near0" || info.MTU != 65535 || info.HardwareAddr != macA || info.State != link.Up {
			t.Errorf("Info = %+v", info)
		}
		if r.EOF() {
			t.Error("at the end before the first frame")
		}
		got := all(r)
		if len(got) != tt.want || !r.EOF() || r.Err() != nil || r.Skipped() != 0 {
			t.Errorf("direction %d: %d frames, want %d; EOF %v, Err %v", tt.direction, len(got), tt.want, r.EOF(), r.Err())
		}
		if s := r.Stats(); s.RxFrames != uint64(tt.want) {
			t.Errorf("Stats = %+v", s)
		}
		if tt.direction == replay.Any {
			checkGolden(t, got)
		}
	}
}

// checkGolden checks the metadata of some frames of the golden capture.
func checkGolden(t *testing.T, got []link.Frame) {
	for i, want := range map[int]link.Meta{
		0:  {WireLen: 60, Type: link.Outgoing},
		6:  {WireLen: 64, Type: link.Host},
		7:  {WireLen: 64, Type: link.Broadcast},
		8:  {WireLen: 64, Type: link.Multicast},
		9:  {WireLen: 64, Type: link.OtherHost},
		13: {WireLen: 60, Type: link.OtherHost, VLAN: true, VLANTCI: 0x6005, VLANTPID: 0x8100},
		14: {WireLen: 1400, Type: link.OtherHost},
	} {
		want.Time, want.Clock = got[i].Time, link.ClockSoftware
		if got[i].Meta != want || got[i].Time <= 1_700_000_000_000_000_000 {
			t.Errorf("frame %d has %+v, want %+v", i, got[i].Meta, want)
		}
		if i != 14 && !linktest.Intact(got[i].Data) {
			t.Errorf("frame %d is damaged", i)
		}
	}
}

// classic returns a pcap file with two frames.
func classic(order binary.AppendByteOrder, magic, linkType uint32, fraction uint32) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = order.AppendUint64(b, 0)
	b = order.AppendUint32(b, 65535)
	b = order.AppendUint32(b, linkType)
	for i := range 2 {
		f := frame(uint64(i), 64+i)
		b = order.AppendUint32(b, uint32(1000+i))
		b = order.AppendUint32(b, fraction)
		b = order.AppendUint32(b, uint32(len(f)))
		b = order.AppendUint32(b, uint32(len(f)+i*10))
		b = append(b, f...)
	}
	return b
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func TestReadClassic(t *testing.T) {
	const micro, nano = 0xa1b2c3d4, 0xa1b23c4d
	tests := []struct {
		name string
		file []byte
		time int64
	}{
		{"microseconds, little-endian", classic(binary.LittleEndian, micro, 1, 123456), 1000_123456000},
		{"microseconds, big-endian", classic(binary.BigEndian, micro, 1, 123456), 1000_123456000},
		{"nanoseconds, little-endian", classic(binary.LittleEndian, nano, 1, 123456789), 1000_123456789},
		{"nanoseconds, big-endian", classic(binary.BigEndian, nano, 1, 123456789), 1000_123456789},
		{"gzip", zipped(classic(binary.LittleEndian, nano, 1, 123456789)), 1000_123456789},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := must[*replay.Link](t)(replay.Open(bytes.NewReader(tt.file), replay.Options{MAC: macB}))
			got := all(r)
			if len(got) != 2 || r.Err() != nil || r.Info().Name != "capture" {
				t.Fatalf("%d frames, Err %v, name %q", len(got), r.Err(), r.Info().Name)
			}
			if got[0].Time != tt.time || got[1].Time != tt.time+1e9 || got[1].WireLen != 75 || got[0].Type != link.Host {
				t.Errorf("Meta = %+v, %+v", got[0].Meta, got[1].Meta)
			}
			if s := r.Stats(); s.RxTruncated != 1 || s.RxFrames != 2 {
				t.Errorf("Stats = %+v", s)
			}
		})
	}
}

// block returns a big-endian pcapng block.
func block(kind uint32, body ...[]byte) []byte {
	be := binary.BigEndian
	content := bytes.Join(body, nil)
	n := uint32(len(content) + 12)
	b := be.AppendUint32(be.AppendUint32(nil, kind), n)
	return be.AppendUint32(append(b, content...), n)
}

// words returns numbers in big-endian order.
func words(v ...uint32) (b []byte) {
	for _, w := range v {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// bigEndian returns a pcapng file of an Ethernet interface and one of another kind,
// as a big-endian machine writes it: a sent frame, a received one, one of the
// other interface, one too short, and a simple packet.
func bigEndian() []byte {
	f := frame(1, 64)
	packet := func(id, flags uint32, data []byte) []byte {
		return block(6, words(id, 0, 5, uint32(len(data)), uint32(len(data))), data, words(2<<16|4, flags, 0))
	}
	return bytes.Join([][]byte{
		block(0x0a0d0d0a, words(0x1a2b3c4d, 1<<16, 0xffffffff, 0xffffffff)),
		block(1, words(1<<16, 0)),
		block(1, words(113<<16, 0)),
		packet(0, 2, f),
		packet(0, 1|1<<2, f),
		packet(1, 1, f),
		packet(0, 1, f[:12]),
		block(3, words(64), f),
	}, nil)
}

func TestReadBigEndian(t *testing.T) {
	r := must[*replay.Link](t)(replay.Open(bytes.NewReader(bigEndian()), replay.Options{MAC: macB, Name: "x"}))
	got := all(r)
	if len(got) != 3 || r.Skipped() != 2 || r.Err() != nil {
		t.Fatalf("%d frames, %d skipped, Err %v", len(got), r.Skipped(), r.Err())
	}
	if got[0].Type != link.Outgoing || got[1].Type != link.Host || got[0].Time != 5000 {
		t.Errorf("Meta = %+v, %+v", got[0].Meta, got[1].Meta)
	}
	if got[2].Clock != link.ClockNone || got[2].Time != 0 {
		t.Errorf("a simple packet has %+v", got[2].Meta)
	}
}

func TestOpenErrors(t *testing.T) {
	file := must[[]byte](t)(os.ReadFile(golden))
	tests := []struct {
		name string
		file []byte
		want error // nil: any
	}{
		{"empty", nil, io.ErrUnexpectedEOF},
		{"one byte", file[:1], io.ErrUnexpectedEOF},
		{"eleven bytes", file[:11], io.ErrUnexpectedEOF},
		{"text", []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), nil},
		{"gzip of nothing", zipped(nil), io.ErrUnexpectedEOF},
		{"gzip cut", zipped(file)[:5], nil},
		{"Linux cooked, classic", classic(binary.LittleEndian, 0xa1b2c3d4, 113, 0), replay.ErrLinkType},
		{"Linux cooked", bytes.Join([][]byte{
			block(0x0a0d0d0a, words(0x1a2b3c4d, 1<<16, 0xffffffff, 0xffffffff)), block(1, words(113<<16, 0))}, nil), replay.ErrLinkType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := replay.Open(bytes.NewReader(tt.file), replay.Options{})
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestCutFile shows that a file that breaks off gives its frames, then an error.
func TestCutFile(t *testing.T) {
	file := must[[]byte](t)(os.ReadFile(golden))
	most := 0
	for n := len(file); n > 0; n -= 7 {
		r, err := replay.Open(bytes.NewReader(file[:n]), replay.Options{})
		if err != nil {
			continue
		}
		k := len(all(r))
		if !r.EOF() {
			t.Fatalf("%d bytes: not at the end", n)
		}
		if k < 16 {
			most = max(most, k)
		}
	}
	if most != 15 {
		t.Errorf("at most %d frames from a cut file, want 15", most)
	}
	r := must[*replay.Link](t)(replay.Open(bytes.NewReader(file[:len(file)-100]), replay.Options{}))
	if all(r); r.Err() == nil {
		t.Error("no error at a block that is cut")
	}
}

func TestReaderSends(t *testing.T) {
	file := must[[]byte](t)(os.ReadFile(golden))
	var sent []int
	changed, readable := 0, 0
	r := must[*replay.Link](t)(replay.Open(bytes.NewReader(file), replay.Options{MTU: 100, Caps: link.CapChecksum,
		Sent: func(f link.TxFrame) { sent = append(sent, len(f.Data)) }}))
	r.SetNotify(func() { readable++ }, func() { changed++ })
	if readable != 1 {
		t.Error("readable was not called though frames wait")
	}
	partial := link.TxFrame{Data: frame(1, 70), PartialChecksum: true, CsumStart: 34, CsumOffset: 6}
	if n, err := r.SendBatch([]link.TxFrame{{Data: frame(1, 60)}, partial}); n != 2 || err != nil {
		t.Errorf("SendBatch = %d, %v", n, err)
	}
	if err := r.Send(frame(1, 115)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send of MTU + 1 = %v", err)
	}
	r.JoinGroup(link.MAC{1})
	if err := r.LeaveGroup(link.MAC{1}); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Send(frame(1, 60)); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("Send after Close = %v", err)
	}
	if len(all(r)) != 0 || r.Info().State != link.Gone || changed != 1 || len(sent) != 2 {
		t.Errorf("after Close: state %v, changed called %d times, sent %v", r.Info().State, changed, sent)
	}
	if s := r.Stats(); s.TxFrames != 2 || s.TxBytes != 130 || s.TxErrors != 2 {
		t.Errorf("Stats = %+v", s)
	}
}

// TestRoundTrip records what a Reader gives: the copy has the same frames.
func TestRoundTrip(t *testing.T) {
	file := must[[]byte](t)(os.ReadFile(golden))
	open := func(b []byte) *replay.Link {
		return must[*replay.Link](t)(replay.Open(bytes.NewReader(b), replay.Options{MAC: macA}))
	}
	var copied bytes.Buffer
	l := must[*pcapng.Link](t)(pcapng.Wrap(open(file), &copied, pcapng.Options{}))
	want := all(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := all(open(copied.Bytes()))
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Meta != want[i].Meta || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("frame %d: %+v, want %+v", i, got[i].Meta, want[i].Meta)
		}
	}
}

func FuzzOpen(f *testing.F) {
	file, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(bigEndian())
	f.Add(classic(binary.LittleEndian, 0xa1b23c4d, 1, 5))
	f.Add(classic(binary.BigEndian, 0xa1b2c3d4, 1, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := replay.Open(bytes.NewReader(b), replay.Options{})
		if err != nil {
			return
		}
		for _, frame := range all(r) {
			if len(frame.Data) < link.HeaderLen || frame.WireLen < len(frame.Data) {
				t.Errorf("frame of %d bytes, WireLen %d", len(frame.Data), frame.WireLen)
			}
		}
		r.Err()
		r.Close()
	})
}
