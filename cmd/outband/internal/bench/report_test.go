package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// fixed are surroundings that are the same everywhere.
var fixed = Surroundings{Kernel: "6.18.0 x86_64", CPU: "Some CPU", CPUs: 2, GOMAXPROCS: 2, Go: "go1.26.0",
	Revision: "0123456789ab", Link: "veth", MTU: 1500, Ring: Ring{"TPACKET_V2", 1024, 2048},
	Ours: Ring{"TPACKET_V2", 4096, 2048}, Pinned: []int{0, 1}, Rounds: 3}

// turnOf returns a turn of four times, those of its summary.
func turnOf(s Summary) turn {
	t := turn{s, newHistogram()}
	for _, d := range []int64{s.Min, s.P50, s.P99, s.P999} {
		t.Times.add(d)
	}
	return t
}

func rttReport() RTTReport {
	c := RTTConfig{Count: 1000, Rounds: 3, Sizes: []int{64, 1400}}
	results := newTable[turn](2, 2)
	for round := range int64(3) {
		for i := range int64(2) {
			results[i][0] = append(results[i][0], turnOf(Summary{2000 + i, 2600 + round, 4000, 9000, 0.25}))
			results[i][1] = append(results[i][1], turnOf(Summary{5000 + i, 5720 + round, 8000, 19000, 0.5}))
		}
	}
	r := c.report([]string{"ring", "outband-spin"}, results)
	r.Surroundings = fixed
	r.Surroundings.Count = 1000
	return r
}

func tputReport() TputReport {
	c := TputConfig{Rounds: 2, Sizes: []int{64}, Batch: 64, Time: time.Second}
	results := newTable[flow](1, 2)
	results[0][0] = []flow{{500e3, 400e3}, {600e3, 500e3}}
	results[0][1] = []flow{{900e3, 800e3}, {950e3, 850e3}}
	r := c.report([]string{"kernel", "outband"}, results)
	r.Surroundings = fixed
	r.Surroundings.Seconds = 1
	return r
}

func TestReportJSON(t *testing.T) {
	for name, report := range map[string]any{"rtt.json": rttReport(), "tput.json": tputReport()} {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(text, '\n'))
	}
}

func TestReportText(t *testing.T) {
	var rtt, tput bytes.Buffer
	fixed.Print(&rtt)
	rttReport().Print(&rtt)
	tputReport().Print(&tput)
	golden(t, "rtt.txt", rtt.Bytes())
	golden(t, "tput.txt", tput.Bytes())
}

func TestReportWithoutFloor(t *testing.T) {
	results := newTable[turn](1, 1)
	results[0][0] = []turn{turnOf(Summary{1, 2, 3, 4, 0})}
	r := RTTConfig{Count: 1, Rounds: 1, Sizes: []int{64}}.report([]string{"go-net"}, results)
	if r.Results[0].XFloor != nil {
		t.Errorf("x_floor is %v", *r.Results[0].XFloor)
	}
	var text bytes.Buffer
	r.Print(&text)
	if !strings.HasSuffix(text.String(), " -\n") {
		t.Errorf("printed:\n%s", text.String())
	}
}

func TestReportOfNothing(t *testing.T) {
	var text bytes.Buffer
	RTTConfig{Sizes: []int{64}}.report([]string{"ring"}, newTable[turn](1, 1)).Print(&text)
	TputConfig{Sizes: []int{64}}.report([]string{"kernel"}, newTable[flow](1, 1)).Print(&text)
	if text.Len() != 0 {
		t.Errorf("printed:\n%s", text.String())
	}
}

func TestSurroundings(t *testing.T) {
	s := RTTConfig{Count: 5, Rounds: 2, CPUs: []int{1, 0}}.Surroundings()
	if s.Kernel == "unknown" || s.CPUs < 1 || s.Go != runtime.Version() || s.Revision == "" || s.Count != 5 || s.Rounds != 2 {
		t.Errorf("%+v", s)
	}
	var text bytes.Buffer
	s.Pinned = nil
	s.Print(&text)
	if !strings.Contains(text.String(), "ends not pinned") {
		t.Errorf("printed:\n%s", text.String())
	}
}

func TestCPUModel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpuinfo")
	if err := os.WriteFile(file, []byte("processor\t: 0\nmodel name\t: A CPU: quick\nmodel name\t: B\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := cpuModel(file); got != "A CPU: quick" {
		t.Errorf("got %q", got)
	}
	if got := cpuModel(file + ".none"); got != "unknown" {
		t.Errorf("no file: %q", got)
	}
	if got := cpuModel(os.DevNull); got != runtime.GOARCH {
		t.Errorf("no model: %q", got)
	}
}
