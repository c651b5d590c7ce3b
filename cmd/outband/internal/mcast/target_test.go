package mcast

import (
	"strings"
	"testing"
)

func TestParseTargets(t *testing.T) {
	tests := []struct {
		name, args, want string
	}{
		{"any source", "239.1.1.1:5000", "239.1.1.1:5000"},
		{"a source", "232.1.1.1@10.9.0.2:5000", "232.1.1.1@10.9.0.2:5000"},
		{"two sources", "232.1.1.1@10.9.0.2,10.9.0.3:5000", "232.1.1.1@10.9.0.2,10.9.0.3:5000"},
		{"two sources, apart", "232.1.1.1@10.9.0.2:5 239.1.1.1:5 232.1.1.1@10.9.0.3:5 232.1.1.1@10.9.0.2:5",
			"232.1.1.1@10.9.0.2,10.9.0.3:5 239.1.1.1:5"},
		{"twice", "239.1.1.1:5 239.1.1.1:5", "239.1.1.1:5"},
		{"two ports", "239.1.1.1:5 239.1.1.1:6", "239.1.1.1:5 239.1.1.1:6"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, err := ParseTargets(strings.Fields(tt.args))
			words := make([]string, len(all))
			for i, target := range all {
				words[i] = target.String()
			}
			if got := strings.Join(words, " "); err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestParseTargetsRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"10.9.0.1:5":                          "is not an IPv4 group and a port",
		"239.1.1.1":                           "is not an IPv4 group and a port",
		"239.1.1.1:0":                         "is not an IPv4 group and a port",
		"[ff02::1]:5":                         "is not an IPv4 group and a port",
		"232.1.1.1@10.9.0.2":                  "is not an IPv4 group and a port",
		"232.1.1.1@:5":                        `"" is not the IPv4 address of a source`,
		"232.1.1.1@far:5":                     `"far" is not the IPv4 address of a source`,
		"232.1.1.1@239.1.1.1:5":               "is not the IPv4 address of a source",
		"232.1.1.1@0.0.0.0:5":                 "is not the IPv4 address of a source",
		"232.1.1.1:5 232.1.1.1@10.9.0.2:5":    "from any source, and from one",
		"232.1.1.1@10.9.0.2:5:6":              "is not an IPv4 group and a port",
		"232.1.1.1@10.9.0.2@10.9.0.3:5":       "is not the IPv4 address",
		"232.1.1.1@10.9.0.2, 10.9.0.3:5 more": "is not",
	} {
		if all, err := ParseTargets(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", args, all, err)
		}
	}
}
