package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/internal/cpu"
	"github.com/outband/outband/test/lab"
)

// pins returns CPUs for two ends, or none on a machine with one.
func pins(t *testing.T) []int {
	t.Helper()
	cpus, err := cpu.All()
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) < 2 {
		return nil
	}
	return cpus[:2]
}

func TestRTT(t *testing.T) {
	lab.Need(t)
	lab.CheckLeaks(t)
	var turns []string
	c := RTTConfig{Count: 50, Rounds: 2, Sizes: []int{64}, CPUs: pins(t),
		Progress: func(round, size int, contender string) { turns = append(turns, contender) }}
	report, err := RTT(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(RTTContenders()); len(report.Results) != want || len(turns) != 2*want {
		t.Fatalf("%d results, %d turns", len(report.Results), len(turns))
	}
	for _, r := range report.Results {
		if r.Min <= 0 || r.Min > r.P50 || r.P50 > r.P99 || r.P99 > r.P999 || r.Rounds != 2 || r.XFloor == nil {
			t.Errorf("%+v", r)
		}
	}
	if first := report.Results[0]; first.Contender != floor || *first.XFloor != 1 {
		t.Errorf("the floor: %+v", first)
	}
}

// TestRTTSizes has more than one size, and the largest that fits a frame.
func TestRTTSizes(t *testing.T) {
	lab.Need(t)
	lab.CheckLeaks(t)
	c := RTTConfig{Count: 20, Rounds: 1, Sizes: []int{2, 1472}, Contenders: []string{"outband-spin", "kernel-spin"}}
	report, err := RTT(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range report.Results {
		got = append(got, fmt.Sprintf("%s %d %s", r.Contender, r.Payload, r.Spin))
	}
	if want := []string{"outband-spin 2 always", "kernel-spin 2 ", "outband-spin 1472 always", "kernel-spin 1472 "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTput(t *testing.T) {
	lab.Need(t)
	lab.CheckLeaks(t)
	c := TputConfig{Time: 20 * time.Millisecond, Rounds: 1, Sizes: []int{64}, Batch: 64, CPUs: pins(t)}
	report, err := Tput(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != len(TputContenders()) {
		t.Fatalf("%+v", report.Results)
	}
	for _, r := range report.Results {
		if r.Sent <= 0 || r.Received <= 0 || r.XSent == nil || r.XReceived == nil {
			t.Errorf("%+v", r)
		}
	}
}

func TestRTTInterrupted(t *testing.T) {
	lab.Need(t)
	lab.CheckLeaks(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := RTTConfig{Count: 10, Rounds: 100, Sizes: []int{64}, Contenders: []string{"kernel-block"},
		Progress: func(round, _ int, _ string) {
			if round == 2 {
				cancel()
			}
		}}
	report, err := RTT(ctx, c)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(report.Results) != 1 || report.Results[0].Rounds != 1 {
		t.Errorf("results %+v", report.Results)
	}
}

func TestEndThatFails(t *testing.T) {
	lab.Need(t)
	lab.CheckLeaks(t)
	w, err := wire.New(false, false) // no kernel address: bind fails
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	near, far := places(w, nil)
	server := EndJob{Bench: "rtt", Contender: "kernel-block", Server: true, place: far}
	client := EndJob{Bench: "rtt", Contender: "kernel-block", Count: 1, Size: 64, place: near}
	err = pair(context.Background(), w, server, client, new(any), new(any))
	checkError(t, err, "cannot assign requested address")

	server.Contender, client.Contender = "ring", "smoke"
	err = pair(context.Background(), w, server, client, new(any), new(any))
	if err == nil || !strings.HasPrefix(err.Error(), "client: ") {
		t.Errorf("the client fails: %v", err)
	}
}
