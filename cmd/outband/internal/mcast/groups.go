package mcast

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outband/outband/igmp"
)

// A Membership is a group that is joined on a device.
type Membership struct {
	IfIndex int    `json:"ifindex"`
	Device  string `json:"dev"`
	// Version is the one of IGMP that is spoken on the device: "V3".
	Version string `json:"version,omitempty"`
	Group   string `json:"group"`
	Users   int    `json:"users"` // sockets that are members
	// Mode is the merged filter's, "include" or "exclude"; empty: unknown.
	Mode    string   `json:"mode,omitempty"`
	Sources []Source `json:"sources,omitempty"`
	// Timer is when a report is due, nanoseconds from now; null: none is.
	Timer    *int64 `json:"timer_ns,omitempty"`
	Reporter bool   `json:"reporter"` // in versions 1 and 2: the last report was ours
}

// A Source is one that sockets' filters name.
type Source struct {
	Addr    string `json:"source"`
	Include int    `json:"include"` // sockets that include it
	Exclude int    `json:"exclude"` // sockets that exclude it
}

// PrintGroups writes memberships as ip-maddress(8) does, a device and then its
// groups, with what /proc/net/igmp and /proc/net/mcfilter tell beside.
func PrintGroups(w io.Writer, all []Membership) {
	device := 0
	for _, m := range all {
		if m.IfIndex != device {
			device = m.IfIndex
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%d:\t%s %s", m.IfIndex, m.Device, m.Version), " "))
		}
		fmt.Fprintf(w, "\tinet  %s users %d", m.Group, m.Users)
		if m.Mode != "" {
			fmt.Fprint(w, " ", m.Mode)
		}
		if m.Timer != nil {
			fmt.Fprintf(w, " timer %s", time.Duration(*m.Timer).Round(time.Millisecond))
		}
		if m.Reporter {
			fmt.Fprint(w, " reporter")
		}
		fmt.Fprintln(w)
		for _, s := range m.Sources {
			fmt.Fprintf(w, "\t\tsource %s include %d exclude %d\n", s.Addr, s.Include, s.Exclude)
		}
	}
}

// FromStack returns the memberships that a stack has on an interface. now is the
// time by its clock.
func FromStack(ifindex int, device string, groups []igmp.GroupInfo, status igmp.Status, now int64) []Membership {
	all := make([]Membership, 0, len(groups))
	for _, g := range groups {
		m := Membership{IfIndex: ifindex, Device: device, Version: fmt.Sprintf("V%d", status.Version),
			Group: netip.AddrFrom4(g.Group).String(), Users: g.Users, Mode: strings.ToLower(g.Mode.String()), Reporter: g.Reporter}
		if g.Timer != math.MaxInt64 {
			due := max(0, g.Timer-now)
			m.Timer = &due
		}
		for _, s := range g.Sources {
			m.Sources = append(m.Sources, Source{netip.AddrFrom4(s.Addr).String(), s.Include, s.Exclude})
		}
		all = append(all, m)
	}
	return all
}

// userHZ is the unit of times in /proc, ticks a second.
const userHZ = 100

// errProc means that the kernel writes its tables otherwise than expected.
var errProc = errors.New("not as this program knows it")

// ParseKernel reads /proc/net/igmp and /proc/net/mcfilter. The kernel's merged mode
// is known only where a source is excluded, or none is named.
func ParseKernel(igmp, mcfilter []byte) ([]Membership, error) {
	all, err := parseIGMP(igmp)
	if err != nil {
		return nil, fmt.Errorf("/proc/net/igmp: %w", err)
	}
	if err := addSources(all, mcfilter); err != nil {
		return nil, fmt.Errorf("/proc/net/mcfilter: %w", err)
	}
	for i := range all {
		excluded := func(s Source) bool { return s.Exclude > 0 }
		if len(all[i].Sources) == 0 || slices.ContainsFunc(all[i].Sources, excluded) {
			all[i].Mode = "exclude"
		}
	}
	slices.SortStableFunc(all, func(a, b Membership) int { return cmp.Compare(a.IfIndex, b.IfIndex) })
	return all, nil
}

// parseIGMP reads a line for each device, and after it one for each of its groups:
//
//	2	near0     :     1      V3
//					010000E0     1 0:00000000		0
func parseIGMP(text []byte) (all []Membership, err error) {
	var device Membership
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Scan() // the heading
	for lines.Scan() {
		words := strings.Fields(strings.Replace(lines.Text(), ":", " ", 1))
		switch {
		case len(words) == 0:
		case lines.Text()[0] != '\t' && len(words) == 4:
			device = Membership{Device: words[1], Version: words[3]}
			if device.IfIndex, err = strconv.Atoi(words[0]); err != nil {
				return nil, errProc
			}
		case lines.Text()[0] == '\t' && len(words) == 5 && device.IfIndex != 0:
			m := device
			group, groupErr := strconv.ParseUint(words[0], 16, 32)
			users, usersErr := strconv.Atoi(words[1])
			ticks, ticksErr := strconv.ParseUint(words[3], 16, 63)
			if cmp.Or(groupErr, usersErr, ticksErr) != nil {
				return nil, errProc
			}
			var b [4]byte // as it lies in memory
			binary.NativeEndian.PutUint32(b[:], uint32(group))
			m.Group, m.Users, m.Reporter = netip.AddrFrom4(b).String(), users, words[4] == "1"
			if words[2] == "1" {
				due := int64(ticks) * int64(time.Second/userHZ)
				m.Timer = &due
			}
			all = append(all, m)
		default:
			return nil, errProc
		}
	}
	return all, nil
}

// addSources reads a line for each source:
//
//	Idx Device        MCA        SRC    INC    EXC
//	  2  near0 0xef090001 0x0a090002      1      0
func addSources(all []Membership, text []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Scan() // the heading
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 6 {
			return errProc
		}
		index, indexErr := strconv.Atoi(words[0])
		group, groupErr := strconv.ParseUint(words[2], 0, 32)
		source, sourceErr := strconv.ParseUint(words[3], 0, 32)
		include, includeErr := strconv.Atoi(words[4])
		exclude, excludeErr := strconv.Atoi(words[5])
		if cmp.Or(indexErr, groupErr, sourceErr, includeErr, excludeErr) != nil {
			return errProc
		}
		for i := range all {
			if all[i].IfIndex == index && all[i].Group == address(group) {
				all[i].Sources = append(all[i].Sources, Source{address(source), include, exclude})
			}
		}
	}
	return nil
}

// address writes an address of which the first byte is the highest.
func address(n uint64) string {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
}
