package cli

import (
	"slices"
	"strings"
	"testing"
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
	v := sizesValue{sizes: []int{64}}
	if v.String() != "64" {
		t.Errorf("default %s", v.String())
	}
	for _, s := range []string{"128,1K", "1400"} {
		if err := v.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{128, 1000, 1400}; !slices.Equal(v.sizes, want) || v.String() != "128,1000,1400" {
		t.Errorf("got %v, %s", v.sizes, v.String())
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
		var v cpusValue
		err := v.Set(tt.in)
		if (err != nil) != tt.bad || v.String() != tt.out {
			t.Errorf("%q: %q, %v", tt.in, v.String(), err)
		}
	}
}
