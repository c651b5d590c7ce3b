package device

import (
	"fmt"
	"slices"
	"strings"
)

// A difference from Linux that is meant: in the cells of some events and some rows. In
// all of them everything is after the event as it was before, which it is not in Linux.
type difference struct {
	name, reason string
	events, rows []string // the latter by the beginning of their names
	not          []string // rows that are none of these all the same
}

const (
	deleted     = "deleted, and made again"
	deletedElse = "deleted, and made again with another index"
	moved       = "moved away, and back"
)

var deliberate = []difference{
	{name: "packet sockets of a device that comes back",
		reason: "one that is bound to a device that was deleted or moved away is as before when a device of that name is there; in Linux it is of no use ever after",
		events: []string{deleted, deletedElse, moved}, rows: []string{"packet"}, not: []string{"packet, cooked, bound to no device"}},
	{name: "groups of a device that comes back",
		reason: "sockets are in their groups again; in Linux they only seem to be",
		events: []string{deleted, deletedElse, moved}, rows: []string{"UDP, in a group", "UDP, bound to a group"}},
	{name: "index of a device that comes back",
		reason: "an interface keeps its index in a stack, and what names it by that goes on; in Linux a device that is made again has another, and what is bound to the old one stays without",
		events: []string{deletedElse},
		rows: []string{"UDP, bound to the device", "UDP, connected, bound to the device", "UDP, IP_UNICAST_IF", "UDP, IP_PKTINFO",
			"UDP, to everybody", "UDP, to itself, bound", "UDP, to 0.0.0.0, bound", "ping, bound to the device", "raw, bound to the device",
			"packet, cooked, bound to no device", "UDP, leaves its group", "new sockets", "a new packet socket", "what the device is"}},
}

// excuse returns the entry of a list that a cell falls under, nil if there is none.
func excuse(list []difference, e *event, r *row) *difference {
	begins := func(with string) bool { return strings.HasPrefix(r.name, with) }
	for i := range list {
		d := &list[i]
		if slices.Contains(d.events, e.name) && slices.ContainsFunc(d.rows, begins) && !slices.Contains(d.not, r.name) {
			return d
		}
	}
	return nil
}

// markdown returns the differences as lines of README's table.
func markdown() (lines []string) {
	for _, d := range deliberate {
		lines = append(lines, fmt.Sprintf("| device/%s | %s |\n", d.name, d.reason))
	}
	return lines
}
