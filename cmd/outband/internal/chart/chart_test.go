package chart

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestApart(t *testing.T) {
	for _, tt := range []struct{ at, want []float64 }{
		{[]float64{10, 100}, []float64{10, 100}},
		{[]float64{10, 12, 14}, []float64{10, 25, 40}},
		{[]float64{80, 99, 100}, []float64{70, 85, 100}},
		{nil, nil},
	} {
		got := slices.Clone(tt.at)
		if apart(got, 100); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.at, got, tt.want)
		}
	}
}

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		want      []float64
	}{{1, 10, []float64{1, 2, 5, 10}}, {3, 40, []float64{5, 10, 20}}, {0.3, 0.6, []float64{0.5}}, {6, 9, nil}} {
		if got := steps(tt.low, tt.high); !slices.Equal(got, tt.want) {
			t.Errorf("%v to %v: %v, want %v", tt.low, tt.high, got, tt.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0.05: "0.05 us", 3.1416: "3.14 us", 1000: "1000 us", 123456: "123456 us"} {
		if got := number(v, "us"); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

// constant is a series of one value.
func constant(name string, v float64, count int) Series {
	return Series{name, func(float64) float64 { return v }, count}
}

// polylines returns the points of a picture's lines.
func polylines(t *testing.T, svg string) (lines [][][2]float64) {
	t.Helper()
	for _, m := range regexp.MustCompile(`points="([^"]*)"`).FindAllStringSubmatch(svg, -1) {
		var line [][2]float64
		for _, p := range strings.Fields(m[1]) {
			x, y, _ := strings.Cut(p, ",")
			fx, errX := strconv.ParseFloat(x, 64)
			fy, errY := strconv.ParseFloat(y, 64)
			if err := errors.Join(errX, errY); err != nil {
				t.Fatal(err)
			}
			line = append(line, [2]float64{fx, fy})
		}
		lines = append(lines, line)
	}
	return lines
}

// A ladder goes as far as there are values for, has larger values higher up, and stays inside.
func TestLadder(t *testing.T) {
	rising := Series{"rising", func(p float64) float64 { return 1 / (100.001 - p) }, 100_000}
	for _, tt := range []struct {
		series []Series
		end    string // the last label of the horizontal axis
	}{
		{[]Series{constant("a <b>", 3, 10), constant("c", 3, 1)}, "90%"},
		{[]Series{constant("a", 3, 999), constant("c", 5, 1000)}, "99.9%"},
		{[]Series{rising, constant("c", 1e-3, 1)}, "99.999%"},
	} {
		var svg bytes.Buffer
		if err := Ladder(&svg, "title", "below", "us", tt.series); err != nil {
			t.Fatal(err)
		}
		axis := regexp.MustCompile(`>([0-9.]+%)<`).FindAllStringSubmatch(svg.String(), -1)
		if got := axis[len(axis)-1][1]; got != tt.end {
			t.Errorf("the axis ends at %s, want %s", got, tt.end)
		}
		lines := polylines(t, svg.String())
		if len(lines) != len(tt.series) {
			t.Fatalf("%d lines of %d series", len(lines), len(tt.series))
		}
		for _, line := range lines {
			for i, p := range line {
				if p[0] < left || p[0] > width-labels+0.1 || p[1] < top || p[1] > ladderHeight-bottom {
					t.Fatalf("point %v is outside", p)
				}
				if i > 0 && (p[0] <= line[i-1][0] || p[1] > line[i-1][1]) {
					t.Fatalf("after %v comes %v", line[i-1], p)
				}
			}
		}
		if strings.Contains(svg.String(), "<b>") {
			t.Error("a name is not escaped")
		}
	}
}

// The longest bar of a group takes all the room, another its part of it.
func TestBars(t *testing.T) {
	var svg bytes.Buffer
	groups := []Group{{"one", []Bar{{"a", 2}, {"b", 8}}}, {"two", []Bar{{"c", 0}}}}
	if err := Bars(&svg, "title", "below", "million", groups); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`<rect[^>]* width="([0-9.]+)"`).FindAllStringSubmatch(svg.String(), -1) {
		got = append(got, m[1])
	}
	if want := []string{"150.0", "600.0", "0.0"}; !slices.Equal(got, want) {
		t.Errorf("bars of %v, want %v", got, want)
	}
}

// An error of the writer's is told.
func TestErrors(t *testing.T) {
	for n := range 5 {
		w := &failing{after: n}
		if err := Ladder(w, "", "", "", []Series{constant("a", 1, 1)}); err != errFull {
			t.Errorf("after %d writes: %v", n, err)
		}
		w = &failing{after: n}
		if err := Bars(w, "", "", "", []Group{{"g", []Bar{{"a", 1}}}}); err != errFull {
			t.Errorf("after %d writes: %v", n, err)
		}
	}
}

var errFull = errors.New("full")

// failing takes some writes.
type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}
