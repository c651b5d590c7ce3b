package bench

import (
	"strings"
	"testing"
	"time"
)

func TestRTTCheck(t *testing.T) {
	good := RTTConfig{Count: 1, Rounds: 1, Sizes: []int{2, 64, 1472}}
	tests := []struct {
		name   string
		change func(*RTTConfig)
		want   string // "": no error
	}{
		{"good", func(*RTTConfig) {}, ""},
		{"no count", func(c *RTTConfig) { c.Count = 0 }, "count"},
		{"more than memory holds", func(c *RTTConfig) { c.Count = 1e7 + 1 }, "count must be from 1 to 10000000"},
		{"no rounds", func(c *RTTConfig) { c.Rounds = 0 }, "rounds"},
		{"the size that quits", func(c *RTTConfig) { c.Sizes = []int{1} }, "payload of 1 bytes"},
		{"more than a frame", func(c *RTTConfig) { c.Sizes = []int{64, 1473} }, "payload of 1473 bytes"},
		{"unknown contender", func(c *RTTConfig) { c.Contenders = []string{"ring", "smoke"} }, `no contender "smoke"; there are: ring, `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			checkError(t, c.Check(), tt.want)
		})
	}
}

func TestTputCheck(t *testing.T) {
	good := TputConfig{Time: time.Second, Rounds: 1, Sizes: []int{64}, Batch: 64}
	tests := []struct {
		name   string
		change func(*TputConfig)
		want   string
	}{
		{"good", func(*TputConfig) {}, ""},
		{"no rounds", func(c *TputConfig) { c.Rounds = 0 }, "rounds"},
		{"no time", func(c *TputConfig) { c.Time = 0 }, "time must"},
		{"too much time", func(c *TputConfig) { c.Time = time.Hour }, "time must"},
		{"no batch", func(c *TputConfig) { c.Batch = 0 }, "batch"},
		{"more than a frame", func(c *TputConfig) { c.Sizes = []int{9000} }, "payload"},
		{"unknown contender", func(c *TputConfig) { c.Contenders = []string{"ring"} }, `no contender "ring"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			checkError(t, c.Check(), tt.want)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func TestPickKeepsTheOrder(t *testing.T) {
	picked, err := pick(rttContenders, []string{"go-net", "ring"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(picked), " "); got != "ring go-net" {
		t.Errorf("picked %s", got)
	}
	if all, _ := pick(rttContenders, nil); len(all) != len(rttContenders) {
		t.Errorf("without names: %s", strings.Join(names(all), " "))
	}
}
