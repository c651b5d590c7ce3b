package values

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/stack"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want int
		bad  bool
	}{
		{in: "0"}, {in: "64", want: 64}, {in: "2K", want: 2000}, {in: "3m", want: 3000000}, {in: "1G", want: 1000000000},
		{in: "", bad: true}, {in: "K", bad: true}, {in: "-1", bad: true}, {in: "1.5K", bad: true}, {in: "64B", bad: true},
		{in: "9223372036854775807G", bad: true},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.in)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%q: %d, %v", tt.in, got, err)
		}
	}
}

func TestSizesValue(t *testing.T) {
	v := Sizes{Sizes: []int{64}}
	if v.String() != "64" {
		t.Errorf("default %s", v.String())
	}
	for _, s := range []string{"128,1K", "1400"} {
		if err := v.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{128, 1000, 1400}; !slices.Equal(v.Sizes, want) || v.String() != "128,1000,1400" {
		t.Errorf("got %v, %s", v.Sizes, v.String())
	}
	if err := v.Set("64,,1"); err == nil || !strings.Contains(err.Error(), `"" is no size`) {
		t.Errorf("empty word: %v", err)
	}
}

func TestCPUsValue(t *testing.T) {
	tests := []struct {
		in, out string
		bad     bool
	}{{in: "0,1", out: "0,1"}, {in: "3,2", out: "3,2"}, {in: "none", out: "none"},
		{in: "1", bad: true}, {in: "a,b", bad: true}, {in: "-1,0", bad: true}, {in: "", bad: true}}
	for _, tt := range tests {
		var v CPUs
		err := v.Set(tt.in)
		if (err != nil) != tt.bad || v.String() != tt.out {
			t.Errorf("%q: %q, %v", tt.in, v.String(), err)
		}
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		err  string
	}{
		{"1", time.Second, ""}, {"0.25", 250 * time.Millisecond, ""}, {"1e-3", time.Millisecond, ""}, {"0", 0, ""},
		{"200ms", 200 * time.Millisecond, ""}, {"1m30s", 90 * time.Second, ""}, {"2d", 48 * time.Hour, ""}, {"1.5d", 36 * time.Hour, ""},
		{"-1", 0, "must not be negative"}, {"-1s", 0, "must not be negative"}, {"-2d", 0, "must not be negative"},
		{"", 0, "neither seconds"}, {"soon", 0, `"soon" is neither seconds nor a duration`}, {"nan", 0, "neither seconds"},
		{"1x", 0, "neither seconds"}, {"d", 0, "neither seconds"},
		{"1e300", 0, "292 years"}, {"inf", 0, "292 years"}, {"9223372037", 0, "292 years"}, {"200000d", 0, "292 years"}, {"1e999", 0, "292 years"},
	}
	for _, tt := range tests {
		var v Duration
		err := v.Set(tt.in)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || time.Duration(v) != tt.want {
			t.Errorf("%q: %v, %v", tt.in, time.Duration(v), err)
		}
	}
	var us Microseconds
	if err := us.Set("250"); err != nil || time.Duration(us) != 250*time.Microsecond {
		t.Errorf("%v, %v", time.Duration(us), err)
	}
	if err := us.Set("x"); err == nil || !strings.Contains(err.Error(), "neither microseconds") {
		t.Error(err)
	}
}

func TestNumbers(t *testing.T) {
	port := uint16(7)
	v := NumberOf(&port, 1, 65535)
	for _, text := range []string{"0", "65536", "-1", "1e3", "", "99999999999999999999", "4 "} {
		if err := v.Set(text); err == nil || err.Error() != "must be a number from 1 to 65535" || port != 7 {
			t.Errorf("%q: %v, %d", text, err, port)
		}
	}
	if err := v.Set("65535"); err != nil || port != 65535 || v.String() != "65535" {
		t.Errorf("%v, %d, %s", err, port, v)
	}
	var cpu int
	if c := CPU(&cpu); cpu != -1 || c.String() != "" || c.Set("1024") == nil || c.Set("3") != nil || c.String() != "3" {
		t.Errorf("CPU %d", cpu)
	}
}

func TestSpinFlag(t *testing.T) {
	for text, want := range map[string]time.Duration{"default": stack.SpinAdaptive, "always": stack.SpinAlways,
		"never": stack.SpinNever, "0": stack.SpinNever, "20us": 20 * time.Microsecond} {
		var v Spin
		if err := v.Set(text); err != nil || time.Duration(v) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(v), err)
		}
	}
	for _, text := range []string{"default", "always", "never", "20µs"} {
		var v Spin
		if v.Set(text); v.String() != text {
			t.Errorf("%s becomes %s", text, v.String())
		}
	}
}
