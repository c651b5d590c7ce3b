package oracle

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/shared"
	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// table returns all cases.
func table() []Case {
	var all []Case
	for _, family := range []func() []Case{optionCases, socketCases, addressCases, recvCases, sendCases, errorCases, controlCases, effectCases, bindCases,
		rawCases, packetCases, stampCases, ipOptionCases, extensionCases, peekCases, txTimeCases, filterCases,
		homeCases, membershipCases, sourceCases, multicastIfCases, multicastCases, multicastSendCases} {
		all = append(all, family()...)
	}
	// Some families are made of maps: the order is to be the same each time.
	slices.SortFunc(all, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// slow is how long a case takes that is worth a line.
const slow = time.Second

var only = flag.String("oracle.case", "", "run the cases whose name begins so, and show every difference")

// TestTable runs every case in the kernel's world and in ours.
func TestTable(t *testing.T) {
	j := &Judge{Linux: NewStage(t, NewInBand(t)), Ours: NewStage(t, NewPipe(t))}
	cases := table()
	seen := make(map[string]bool)
	pending, deliberate := make([]tally, len(Pending)), make([]tally, len(Deliberate))
	var total tally
	for i := range cases {
		c := &cases[i]
		if seen[c.Name] {
			t.Errorf("two cases are named %q", c.Name)
		}
		seen[c.Name] = true
		if !strings.HasPrefix(c.Name, *only) {
			continue
		}
		d, p := find(Deliberate, c), find(Pending, c)
		began := time.Now()
		diff := j.Case(c, d < 0 && p < 0)
		j.Steady(t, c)
		if took := time.Since(began); took > slow {
			t.Logf("%s took %v", c.Name, took)
		}
		differs := diff != ""
		total.add(differs)
		switch {
		case d >= 0:
			deliberate[d].add(differs)
		case p >= 0:
			pending[p].add(differs)
		case differs:
			t.Errorf("%s\n%s", c.Name, diff)
		}
		if differs && *only != "" && (d >= 0 || p >= 0) {
			t.Logf("%s\n%s", c.Name, diff)
		}
	}
	for i, d := range Deliberate {
		deliberate[i].check(t, "Deliberate", d)
	}
	for i, d := range Pending {
		pending[i].check(t, "Pending", d)
	}
	t.Logf("%d cases, %d calls compared with Linux: %d differ deliberately, %d are pending (%d entries)",
		total.cases, j.Calls, differing(deliberate), differing(pending), len(Pending))
}

// TestRings runs a part of the table, every tenth case and all that waits, with
// our stacks on packet rings instead of a pipe.
func TestRings(t *testing.T) {
	j := &Judge{Linux: NewStage(t, NewInBand(t)), Ours: NewStage(t, NewRings(t))}
	j.Linux.Careful, j.Ours.Careful = true, true
	n := 0
	cases := table()
	for i := range cases {
		c := &cases[i]
		over := slices.ContainsFunc(c.tops(), func(top Topology) bool { return top.Name == Wire.Name })
		if !over || find(Deliberate, c) >= 0 || find(Pending, c) >= 0 {
			continue
		}
		if *only == "" && i%10 != 0 && !strings.Contains(c.Name, "/waits/") || !strings.HasPrefix(c.Name, *only) {
			continue
		}
		n++
		if diff := j.Compare(Wire, c.Run, true); diff != "" {
			t.Errorf("%s\n%s", c.Name, diff)
		}
		j.Steady(t, c)
	}
	t.Logf("%d cases, %d calls compared with Linux", n, j.Calls)
}

// TestShared runs the table with our stacks on shared addresses, on every rung.
func TestShared(t *testing.T) {
	deliberate := make([]tally, len(DeliberateShared))
	for _, c := range []shared.Config{{Only: claim.TCX}, {Only: claim.NFT}, {Only: claim.Holder}} {
		w := NewShared(t, c)
		t.Run(w.Name(), func(t *testing.T) { playShared(t, w, deliberate) })
	}
	for i, d := range DeliberateShared {
		deliberate[i].check(t, "DeliberateShared", d)
	}
}

// playShared runs the table in a world of shared addresses. deliberate counts what differs as
// DeliberateShared says.
func playShared(t *testing.T, w World, deliberate []tally) {
	j := &Judge{Linux: NewStage(t, NewInBand(t)), Ours: NewStage(t, w)}
	cases := table()
	for i := range cases {
		c := &cases[i]
		if !strings.HasPrefix(c.Name, *only) || find(Deliberate, c) >= 0 || find(Pending, c) >= 0 {
			continue
		}
		d := find(DeliberateShared, c)
		diff := j.Case(c, d < 0)
		j.Steady(t, c)
		switch {
		case d >= 0:
			deliberate[d].add(diff != "")
		case diff != "":
			t.Errorf("%s\n%s", c.Name, diff)
		}
	}
	t.Logf("%d calls compared with Linux", j.Calls)
}

// A tally counts cases.
type tally struct{ cases, differ int }

func (n *tally) add(differs bool) {
	n.cases++
	if differs {
		n.differ++
	}
}

// check fails the test if an entry of a list stands for no difference.
func (n tally) check(t *testing.T, list string, d Difference) {
	t.Helper()
	switch {
	case *only != "":
	case n.cases == 0:
		t.Errorf("%s: %q is the name of no case", list, d.Cases)
	case n.differ == 0:
		t.Errorf("all %d cases of %q do as Linux does: remove it from %s", n.cases, d.Cases, list)
	}
}

func differing(list []tally) (n int) {
	for _, t := range list {
		n += t.differ
	}
	return n
}

// TestReadmeTellsDifferences compares README's table of deliberate differences
// with the list. ORACLE_MARKDOWN names a file to write the table to.
func TestReadmeTellsDifferences(t *testing.T) {
	md := Markdown(Deliberate) + Markdown(DeliberateShared)
	if name := os.Getenv("ORACLE_MARKDOWN"); name != "" {
		if err := os.WriteFile(name, []byte(md), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(md) {
		if !strings.Contains(string(readme), line) {
			t.Errorf("README does not have this line: %s", line)
		}
	}
}
