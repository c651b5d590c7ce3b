package mcast

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// IsDrop reports whether a counter, under the name that nstat(8) and this stack
// give it, counts datagrams or frames that came and did not reach a socket.
func IsDrop(name string) bool {
	switch name {
	case "IpInHdrErrors", "IpInDiscards", "IpReasmFails", "IpExtInTruncatedPkts", "IpExtInCsumErrors",
		"UdpInErrors", "UdpRcvbufErrors", "UdpInCsumErrors", "UdpMemErrors",
		"LinkRxRingFull", "LinkRxTruncated":
		return true
	}
	return strings.HasPrefix(name, "OutbandDrop")
}

// ParseSNMP reads /proc/net/snmp or /proc/net/netstat: pairs of lines, names and
// values, each after the name of a protocol.
func ParseSNMP(text []byte) map[string]uint64 {
	all := map[string]uint64{}
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if names == nil || names[0] != words[0] || len(names) != len(words) {
			names = words
			continue
		}
		for i := 1; i < len(words); i++ {
			// Some, such as Tcp's MaxConn, may be negative: they count nothing.
			if v, err := strconv.ParseUint(words[i], 10, 64); err == nil {
				all[strings.TrimSuffix(names[0], ":")+names[i]] = v
			}
		}
		names = nil
	}
	return all
}
