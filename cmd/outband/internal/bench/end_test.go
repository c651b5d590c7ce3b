package bench

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/cmd/outband/internal/peers"
	"github.com/outband/outband/link/tpacket"
)

// A script is a conn that answers by a function.
type script struct {
	answer func(p []byte) ([]byte, error)
	next   []byte
	err    error
	sent   []int // lengths
}

func (s *script) Send(p []byte) (int, error) {
	s.sent = append(s.sent, len(p))
	s.next, s.err = s.answer(p)
	return len(p), nil
}

func (s *script) Recv(p []byte) (int, error) { return copy(p, s.next), s.err }
func (s *script) Close() error               { return nil }

func TestMeasure(t *testing.T) {
	for _, warmUp := range []int{0, 3, 8} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{}
			s.answer = func(p []byte) ([]byte, error) {
				took := time.Millisecond
				if len(s.sent) <= warmUp {
					took = time.Second // which must not count
				}
				time.Sleep(took)
				return p, nil
			}
			rtt, err := measure(s, warmUp, 5, 64)
			if err != nil || !slices.Equal(rtt, slices.Repeat([]int64{1e6}, 5)) {
				t.Errorf("after %d to warm up: %v, %v", warmUp, rtt, err)
			}
			want := append(slices.Repeat([]int{64}, warmUp+5), quitSize)
			if !slices.Equal(s.sent, want) {
				t.Errorf("sent %v, want %v", s.sent, want)
			}
		})
	}
}

// TestWarmUpIsALap holds the warm-up to what it is for.
func TestWarmUpIsALap(t *testing.T) {
	if most := max(tpacket.DefaultSlots, peers.RingSlots); WarmUp < most {
		t.Errorf("%d round trips do not go round a ring of %d slots", WarmUp, most)
	}
}

func TestMeasureFailures(t *testing.T) {
	short := &script{answer: func(p []byte) ([]byte, error) { return p[1:], nil }}
	_, err := measure(short, 1, 5, 64)
	checkError(t, err, "63 bytes came back of 64")
	broken := &script{answer: func([]byte) ([]byte, error) { return nil, errors.New("broken") }}
	_, err = measure(broken, 0, 5, 64)
	checkError(t, err, "broken")
}

// A queue is a conn that receives what it was filled with.
type queue struct {
	in   []string
	sent []string
}

func (q *queue) Send(p []byte) (int, error) {
	q.sent = append(q.sent, string(p))
	return len(p), nil
}

func (q *queue) Recv(p []byte) (int, error) {
	if len(q.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, q.in[0])
	q.in = q.in[1:]
	return n, nil
}

func (q *queue) Close() error { return nil }

func TestServe(t *testing.T) {
	q := &queue{in: []string{"one", "three", "x", "after"}}
	if err := serve(q); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(q.sent, " "); got != "one three" {
		t.Errorf("echoed %q", got)
	}
	if err := serve(&queue{}); err != io.EOF {
		t.Errorf("an error of Recv: %v", err)
	}
}

// A bulkScript is a bulk that follows a list of batch lengths.
type bulkScript struct {
	batches []int // -1: idle
	err     error
}

func (b *bulkScript) send() (int, error) { return b.receive() }

func (b *bulkScript) receive() (int, error) {
	if len(b.batches) == 0 {
		return 0, b.err
	}
	n := b.batches[0]
	b.batches = b.batches[1:]
	if n < 0 {
		return 0, errIdle
	}
	return n, nil
}

func (b *bulkScript) Close() error { return nil }

func TestDrain(t *testing.T) {
	got, err := drain(&bulkScript{batches: []int{-1, -1, 64, 64, 1, -1}})
	if err != nil || got.Received <= 0 || got.Sent != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = drain(&bulkScript{batches: []int{64}, err: io.EOF})
	checkError(t, err, "EOF")
}

func TestFlood(t *testing.T) {
	got, err := flood(&bulkScript{batches: []int{64}, err: io.EOF}, 1)
	if err != nil || got.Sent <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = flood(&bulkScript{err: io.EOF}, 1)
	checkError(t, err, "EOF")
}

func TestRunEndRefuses(t *testing.T) {
	checkError(t, RunEnd("no JSON", nil, io.Discard), "job: ")
	tests := []struct {
		name string
		job  EndJob
		want string
	}{
		{"no bench", EndJob{Bench: "quiet"}, `no bench "quiet"`},
		{"no rtt contender", EndJob{Bench: "rtt", Contender: "smoke"}, `no contender "smoke"`},
		{"no tput contender", EndJob{Bench: "tput", Contender: "smoke"}, `no contender "smoke"`},
		{"no device", EndJob{Bench: "rtt", Contender: "ring", place: place{CPU: -1, Device: "none0"}}, "no such network interface"},
		{"no CPU", EndJob{Bench: "rtt", Contender: "ring", place: place{CPU: 1000}}, "pin to CPU 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.job.run(func() { t.Error("ready") })
			checkError(t, err, tt.want)
		})
	}
}
