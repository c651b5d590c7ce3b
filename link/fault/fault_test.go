package fault_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/linktest"
	"github.com/outband/outband/link/pipe"
)

var (
	macA = link.MAC{2, 0, 0, 0, 0, 1}
	macB = link.MAC{2, 0, 0, 0, 0, 2}
)

func frame(serial uint64, n int) []byte { return linktest.Frame(macB, macA, serial, n) }

// pair returns a pair whose first end sends with the faults tx, and whose second
// receives with the faults rx.
func pair(t testing.TB, seed uint64, tx, rx fault.Faults) (a, b *fault.Link) {
	x, y := pipe.New(pipe.Options{Queue: 1 << 16, Caps: link.CapChecksum | link.CapGSO})
	a = fault.Wrap(x, fault.Config{Seed: seed, Tx: tx})
	b = fault.Wrap(y, fault.Config{Seed: seed, Rx: rx})
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// drain returns copies of the frames that are there now.
func drain(l link.Link) []link.Frame {
	var out []link.Frame
	var frames [7]link.Frame
	for n := l.Receive(frames[:]); n > 0; n = l.Receive(frames[:]) {
		for _, f := range frames[:n] {
			f.Data = bytes.Clone(f.Data)
			out = append(out, f)
		}
		l.Release()
	}
	return out
}

// serials returns the serial numbers of frames.
func serials(frames []link.Frame) []uint64 {
	out := []uint64{}
	for _, f := range frames {
		s, _ := linktest.Serial(f.Data)
		out = append(out, s)
	}
	return out
}

// both runs a test with the faults on the sending and on the receiving side, in a
// bubble of simulated time.
func both(t *testing.T, seed uint64, f fault.Faults, test func(t *testing.T, a, b *fault.Link, counters func() fault.Counters)) {
	t.Run("tx", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t, seed, f, fault.Faults{})
			test(t, a, b, func() fault.Counters { return a.Counters().Tx })
		})
	})
	t.Run("rx", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t, seed, fault.Faults{}, f)
			test(t, a, b, func() fault.Counters { return b.Counters().Rx })
		})
	})
}

func TestZeroPassesThrough(t *testing.T) {
	x, y := pipe.New(pipe.Options{})
	a, b := fault.Wrap(x, fault.Config{Seed: 5}), fault.Wrap(y, fault.Config{})
	a.Send(frame(1, 60))
	if n := len(drain(b)); n != 1 {
		t.Fatalf("%d frames", n)
	}
	if c := a.Counters(); c != (fault.Totals{}) {
		t.Errorf("Counters = %+v", c)
	}
	if a.Unwrap() != link.Link(x) || a.Info() != x.Info() || a.Stats() != x.Stats() || a.FD() != -1 {
		t.Error("the wrapper is not what it wraps")
	}
	a.PollError()
	a.JoinGroup(link.MAC{1})
	if x.Groups()[link.MAC{1}] != 1 || a.LeaveGroup(link.MAC{1}) != nil || len(x.Groups()) != 0 {
		t.Error("groups do not reach the wrapped link")
	}
	a.AddMode(link.Promiscuous)
	if x.Mode(link.Promiscuous) != 1 || a.DropMode(link.Promiscuous) != nil || x.Mode(link.Promiscuous) != 0 {
		t.Error("modes do not reach the wrapped link")
	}
}

// sentLink remembers what was sent on it.
type sentLink struct {
	link.Link
	sent []link.TxFrame
}

func (l *sentLink) Send(frame []byte) error {
	_, err := l.SendBatch([]link.TxFrame{{Data: frame}})
	return err
}

func (l *sentLink) SendBatch(frames []link.TxFrame) (int, error) {
	for _, f := range frames {
		f.Data = nil
		l.sent = append(l.sent, f)
	}
	return l.Link.SendBatch(frames)
}

func TestMarksPass(t *testing.T) {
	x, _ := pipe.New(pipe.Options{})
	to := &sentLink{Link: x}
	a := fault.Wrap(to, fault.Config{Tx: fault.Faults{Duplicate: 1}})
	defer a.Close()
	want := link.TxFrame{Priority: 5, Mark: 7}
	if n, err := a.SendBatch([]link.TxFrame{{Data: frame(1, 60), Priority: 5, Mark: 7}}); n != 1 || err != nil {
		t.Fatalf("SendBatch = %d, %v", n, err)
	}
	if len(to.sent) != 2 || !reflect.DeepEqual(to.sent[0], want) || !reflect.DeepEqual(to.sent[1], want) {
		t.Errorf("sent %+v, expected %+v twice", to.sent, want)
	}
}

func TestLoss(t *testing.T) {
	const n = 20000
	tests := []struct {
		name   string
		faults fault.Faults
		want   float64
	}{
		{"none", fault.Faults{Delay: 1}, 0},
		{"some", fault.Faults{Loss: 0.1}, 0.1},
		{"all", fault.Faults{Loss: 1}, 1},
		{"more than all", fault.Faults{Loss: 7}, 1},
		{"less than none", fault.Faults{Loss: -7, Delay: 1}, 0},
		{"not a number", fault.Faults{Loss: math.NaN(), Delay: 1}, 0},
		// Half of the time bad, with 40 % loss there.
		{"burst", fault.Faults{Burst: fault.Burst{ToBad: 0.05, ToGood: 0.05, LossBad: 0.4}}, 0.2},
		{"both", fault.Faults{Loss: 0.5, Burst: fault.Burst{LossGood: 0.5}}, 0.75},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.faults.Limit = n
			both(t, 1, tt.faults, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
				for i := range n {
					a.Send(frame(uint64(i), 60))
				}
				got := 0
				for range 3 { // one Receive does not take all that waits
					got += len(drain(b))
					time.Sleep(time.Second)
					synctest.Wait()
				}
				got += len(drain(b))
				c := counters()
				if lost := float64(n-got) / n; math.Abs(lost-tt.want) > 0.02 {
					t.Errorf("lost %.3f, want %.3f", lost, tt.want)
				}
				if c.Frames != n || c.Lost+c.BurstLost != uint64(n-got) {
					t.Errorf("Counters = %+v with %d lost", c, n-got)
				}
			})
		})
	}
}

// TestBurstsAreBursts compares the number of runs of lost frames with that of
// independent loss at the same rate.
func TestBurstsAreBursts(t *testing.T) {
	const n = 20000
	runs := func(f fault.Faults) (runs int) {
		a, b := pair(t, 3, fault.Faults{}, f)
		next := uint64(0)
		for i := range n {
			a.Send(frame(uint64(i), 60))
			for _, s := range serials(drain(b)) {
				if s != next {
					runs++
				}
				next = s + 1
			}
		}
		return runs
	}
	bursts := runs(fault.Faults{Burst: fault.Burst{ToBad: 0.01, ToGood: 0.09, LossBad: 1}})
	single := runs(fault.Faults{Loss: 0.1})
	if bursts*5 > single {
		t.Errorf("%d runs of lost frames in bursts, %d of single loss", bursts, single)
	}
}

func TestSeed(t *testing.T) {
	everything := fault.Faults{Loss: 0.1, Duplicate: 0.1, Corrupt: 0.1, Truncate: 0.1, Reorder: 0.1,
		Delay: time.Millisecond, Jitter: time.Millisecond, Rate: 1e9, Burst: fault.Burst{ToBad: 0.1, ToGood: 0.5, LossBad: 0.5}}
	run := func(t *testing.T, seed uint64, noise bool) (out [][]byte) {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t, seed, everything, everything)
			for i := range 300 {
				a.Send(frame(uint64(i), 60+i))
				if noise { // the other way has its own sequence
					b.Send(frame(uint64(i), 60))
				}
				time.Sleep(time.Millisecond)
				for _, f := range drain(b) {
					out = append(out, f.Data)
				}
			}
		})
		return out
	}
	same := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
	first := run(t, 42, false)
	if len(first) < 100 {
		t.Fatalf("only %d frames arrived", len(first))
	}
	if !same(first, run(t, 42, false)) {
		t.Error("the same seed gave other faults")
	}
	if !same(first, run(t, 42, true)) {
		t.Error("traffic the other way changed the faults")
	}
	if same(first, run(t, 43, false)) {
		t.Error("another seed gave the same faults")
	}
}

func TestDuplicate(t *testing.T) {
	both(t, 1, fault.Faults{Duplicate: 1}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		a.Send(frame(1, 60))
		a.Send(frame(2, 60))
		if got := serials(drain(b)); !slices.Equal(got, []uint64{1, 1, 2, 2}) {
			t.Errorf("arrived: %v", got)
		}
		if c := counters(); c.Duplicated != 2 || c.Frames != 2 {
			t.Errorf("Counters = %+v", c)
		}
	})
}

func TestCorrupt(t *testing.T) {
	for _, flips := range []int{0, 1, 3} {
		both(t, 1, fault.Faults{Corrupt: 1, CorruptBits: flips}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
			const n = 50
			for i := range n {
				sent := frame(uint64(i), 100)
				want := bytes.Clone(sent)
				a.Send(sent)
				if !bytes.Equal(sent, want) {
					t.Fatal("the sender's bytes were changed")
				}
				got := drain(b)
				changed := 0
				for k, x := range got[0].Data {
					for x ^= want[k]; x != 0; x &= x - 1 {
						changed++
					}
				}
				if most := max(flips, 1); changed > most || (most-changed)%2 != 0 {
					t.Errorf("%d bits changed, want %d", changed, most)
				}
			}
			if c := counters(); c.Corrupted != n {
				t.Errorf("Counters = %+v", c)
			}
		})
	}
}

// TestCorruptionIsSeen shows that a frame without a checksum gets one before it is
// damaged: otherwise nobody could notice.
func TestCorruptionIsSeen(t *testing.T) {
	both(t, 9, fault.Faults{Corrupt: 0.5}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		seen := 0
		for range 200 {
			before := counters().Corrupted
			f := frame(1, 1000)
			f[40], f[41] = pseudoSum(f)
			a.SendBatch([]link.TxFrame{{Data: f, PartialChecksum: true, CsumStart: 34, CsumOffset: 6}})
			got := drain(b)[0]
			corrupted := counters().Corrupted > before
			if (got.Checksum == link.ChecksumPartial) == corrupted {
				t.Fatalf("corrupted %v, checksum state %d", corrupted, got.Checksum)
			}
			if corrupted && !linktest.ChecksumOK(got.Data) {
				seen++
			}
		}
		if all := int(counters().Corrupted); seen < all*9/10 { // the rest hit the IP or Ethernet header
			t.Errorf("%d of %d damaged frames have a wrong checksum", seen, all)
		}
	})
}

// pseudoSum returns the sum that stands in the field of a partial checksum.
func pseudoSum(f []byte) (byte, byte) {
	sum := uint32(17 + len(f) - 34)
	for i := 26; i < 34; i += 2 {
		sum += uint32(f[i])<<8 | uint32(f[i+1])
	}
	sum = sum>>16 + sum&0xffff
	return byte(sum >> 8), byte(sum)
}

func TestTruncate(t *testing.T) {
	both(t, 1, fault.Faults{Truncate: 1}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		shortest, longest := 1000, 0
		for range 500 {
			want := frame(1, 100)
			a.Send(want)
			got := drain(b)[0]
			n := len(got.Data)
			if got.WireLen != n || !bytes.Equal(got.Data, want[:n]) {
				t.Fatalf("%d bytes with WireLen %d", n, got.WireLen)
			}
			shortest, longest = min(shortest, n), max(longest, n)
		}
		if shortest < link.HeaderLen || shortest > 20 || longest > 99 || longest < 95 {
			t.Errorf("lengths from %d to %d, want 14 to 99", shortest, longest)
		}
		a.Send(frame(1, 60)[:14]) // nothing left to cut
		if n := len(drain(b)[0].Data); n != 14 || counters().Truncated != 500 {
			t.Errorf("%d bytes of a header arrived; Counters = %+v", n, counters())
		}
	})
}

func TestSuperPacketsAreCut(t *testing.T) {
	both(t, 1, fault.Faults{Loss: 1e-300}, func(t *testing.T, a, b *fault.Link, counters func() fault.Counters) {
		f := frame(1, 42+1000)
		f[40], f[41] = pseudoSum(f)
		tx := link.TxFrame{Data: f, PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: 300}
		if n, err := a.SendBatch([]link.TxFrame{tx}); n != 1 || err != nil {
			t.Fatalf("SendBatch = %d, %v", n, err)
		}
		var payload []byte
		got := drain(b)
		for _, g := range got {
			if g.GSO != link.GSONone || g.Checksum != link.ChecksumUnknown || !linktest.ChecksumOK(g.Data) {
				t.Errorf("segment with %+v", g.Meta)
			}
			payload = append(payload, g.Data[42:]...)
		}
		if len(got) != 4 || !bytes.Equal(payload, f[42:]) || counters().Frames != 4 {
			t.Errorf("%d segments, %d bytes", len(got), len(payload))
		}
	})
}

func TestRefusedAtOnce(t *testing.T) {
	a, _ := pair(t, 1, fault.Faults{Loss: 1}, fault.Faults{})
	inner := a.Unwrap().(*pipe.Link)
	if err := a.Send(make([]byte, 1515)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send of MTU + 1 = %v", err)
	}
	if err := a.Send(frame(1, 1000)); err != nil {
		t.Errorf("a lost frame gave %v", err)
	}
	inner.SetMTU(500)
	if err := a.Send(frame(1, 1000)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send after the MTU changed = %v", err)
	}
	inner.SetUp(false)
	if err := a.Send(frame(1, 100)); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("Send on a link that is down = %v", err)
	}
	if n := inner.Stats().TxErrors; n != 3 {
		t.Errorf("TxErrors = %d, want 3", n)
	}
	inner.SetUp(true)
	if n, err := a.SendBatch([]link.TxFrame{{Data: frame(1, 100)}, {Data: frame(1, 100), GSOSize: 5}}); n != 1 || !errors.Is(err, unix.EINVAL) {
		t.Errorf("SendBatch = %d, %v", n, err)
	}
}

func TestSetConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, 1, fault.Faults{Delay: time.Second}, fault.Faults{})
		a.Send(frame(1, 60))
		cfg := fault.Config{Seed: 1, Tx: fault.Faults{Loss: 1}}
		a.SetConfig(cfg)
		if a.Config().Tx != cfg.Tx {
			t.Error("Config is not what was set")
		}
		a.Send(frame(2, 60))
		a.SetConfig(fault.Config{Seed: 1})
		a.Send(frame(3, 60))
		if got := serials(drain(b)); !slices.Equal(got, []uint64{3}) {
			t.Errorf("arrived at once: %v, want 3", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := serials(drain(b)); !slices.Equal(got, []uint64{1}) {
			t.Errorf("arrived later: %v, want 1", got)
		}
		a.Send(frame(4, 60))
		c := a.Counters().Tx
		if c.Frames != 3 { // not 4: nothing was held any more, and no fault set
			t.Errorf("%d frames went through the wire, want 3", c.Frames)
		}
	})
}

func TestSetConfigSeed(t *testing.T) {
	a, b := pair(t, 1, fault.Faults{Loss: 0.5}, fault.Faults{})
	run := func() []uint64 {
		for i := range 64 {
			a.Send(frame(uint64(i), 60))
		}
		return serials(drain(b))
	}
	first := run()
	cfg := a.Config()
	a.SetConfig(cfg)
	if slices.Equal(first, run()) {
		t.Error("the same seed started the sequence anew")
	}
	cfg.Seed = 2
	a.SetConfig(cfg)
	cfg.Seed = 1
	a.SetConfig(cfg)
	if !slices.Equal(first, run()) {
		t.Error("another seed did not start the sequence anew")
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fault.Faults{Delay: time.Hour}
		a, b := pair(t, 1, f, fault.Faults{})
		b.SetConfig(fault.Config{Rx: f})
		a.Send(frame(1, 60))
		b.Unwrap().(*pipe.Link).Inject(link.Frame{Data: frame(2, 60)})
		drain(b)
		if tx, _ := a.Held(); tx != 1 {
			t.Errorf("%d frames held to send", tx)
		}
		if _, rx := b.Held(); rx != 1 {
			t.Errorf("%d received frames held", rx)
		}
		for range 2 {
			a.Close()
			b.Close()
		}
		if a.Counters().Tx.Discarded != 1 || b.Counters().Rx.Discarded != 1 {
			t.Errorf("Counters = %+v, %+v", a.Counters().Tx, b.Counters().Rx)
		}
		start := time.Now()
		synctest.Wait()
		if time.Since(start) != 0 {
			t.Error("a timer is left")
		}
		if err := a.Send(frame(1, 60)); !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("Send after Close = %v", err)
		}
	})
}

func BenchmarkPassThrough(b *testing.B) { benchmark(b, fault.Faults{}) }
func BenchmarkLoss(b *testing.B)        { benchmark(b, fault.Faults{Loss: 1e-9}) }

func benchmark(b *testing.B, f fault.Faults) {
	x, y := pair(b, 1, f, f)
	data := frame(1, 64)
	var frames [8]link.Frame
	b.ReportAllocs()
	for b.Loop() {
		x.Send(data)
		y.Receive(frames[:])
		y.Release()
	}
}
