package lab

import (
	"fmt"
	"strings"
	"testing"
)

// Tc runs tc(8) in the end's namespace, with words separated by spaces; DEV stands for
// its device. The test fails if tc does.
func (e *Endpoint) Tc(t testing.TB, command string) {
	t.Helper()
	Output(t, e.Namespace, NeedProgram(t, "tc"), strings.Fields(strings.ReplaceAll(command, "DEV", e.Name))...)
}

// A Class is a class of [Endpoint.Htb].
type Class struct {
	Rate string // as tc(8) takes it: "20mbit"
	// Packets is how many may wait in the class; 0: as many as the device's
	// txqueuelen says.
	Packets int
}

// Htb makes the end's device as slow as its classes are. What a socket sends is of class
// i if its SO_PRIORITY is [ClassPriority](i), and else of class 0.
func (e *Endpoint) Htb(t testing.TB, classes ...Class) {
	t.Helper()
	e.Tc(t, "qdisc replace dev DEV root handle 1: htb default 10")
	for i, c := range classes {
		id := ClassPriority(i) & 0xffff
		e.Tc(t, fmt.Sprintf("class add dev DEV parent 1: classid 1:%x htb rate %s quantum 1514", id, c.Rate))
		if c.Packets > 0 {
			e.Tc(t, fmt.Sprintf("qdisc add dev DEV parent 1:%x pfifo limit %d", id, c.Packets))
		}
	}
}

// SetRate changes the rate of class i of [Endpoint.Htb]. What waits there stays.
func (e *Endpoint) SetRate(t testing.TB, i int, rate string) {
	t.Helper()
	e.Tc(t, fmt.Sprintf("class change dev DEV parent 1: classid 1:%x htb rate %s quantum 1514", ClassPriority(i)&0xffff, rate))
}

// ClassPriority is the SO_PRIORITY of class i of [Endpoint.Htb]. To set it takes
// CAP_NET_ADMIN.
func ClassPriority(i int) int { return 0x10010 + i }

// Tbf makes the end's device one that sends at a rate and has at most limit bytes
// waiting (tc-tbf(8)).
func (e *Endpoint) Tbf(t testing.TB, rate string, limit int) {
	t.Helper()
	e.Tc(t, fmt.Sprintf("qdisc replace dev DEV root tbf rate %s burst 1600 limit %d", rate, limit))
}
