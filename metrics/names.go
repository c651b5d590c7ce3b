package metrics

import (
	"strings"
	"unicode"
)

// prefix is what all names begin with.
const prefix = "outband_"

// counterName returns the name of a counter of stack.Stats in Prometheus' fashion:
// "UdpInDatagrams" is "outband_udp_in_datagrams_total".
func counterName(name string) string {
	for _, p := range []string{"OutbandLoopback", "Outband"} {
		if rest, ok := strings.CutPrefix(name, p); ok {
			name = strings.TrimPrefix(p, "Outband") + rest
			break
		}
	}
	name = strings.Replace(name, "IpExt", "Ip", 1)
	name = strings.Replace(name, "NotForUs", "NotForThisHost", 1) // us are microseconds
	name = strings.Replace(name, "OKs", "Oks", 1)
	name = strings.Replace(name, "Octets", "Bytes", 1)
	return prefix + snake(name) + "_total"
}

// snake writes a name of several words as Prometheus does: "DropVLANTag" is "drop_vlan_tag".
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		begins := i > 0 && unicode.IsUpper(r) &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins {
			b.WriteByte('_')
		}
		if r == '-' {
			r = '_'
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// help returns what a counter counts, in a sentence.
func help(name string) string {
	if h, ok := helps[name]; ok {
		return h
	}
	if cause, ok := strings.CutPrefix(name, "OutbandArp"); ok {
		return "ARP packets and requests that had no ordinary effect, by cause: " + words(cause) + "."
	}
	if cause, ok := strings.CutPrefix(name, "OutbandIgmp"); ok {
		return "IGMP messages that had no effect, by cause: " + words(cause) + "."
	}
	return ""
}

// words writes a name as words.
func words(name string) string { return strings.ReplaceAll(snake(name), "_", " ") }
