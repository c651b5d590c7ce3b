package device

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/test/oracle"
)

func TestMain(m *testing.M) { lab.Main(m) }

// TestMatrix plays every row with every event, on the kernel's host and on ours, and
// compares what was written down, cell by cell.
func TestMatrix(t *testing.T) {
	lab.Need(t)
	for i := range events {
		e := &events[i]
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			judge(t, e, newOurs, deliberate)
		})
	}
}

// TestSharedMatrix is TestMatrix for stacks on the kernel's addresses, on every rung: there is no
// difference that is meant, since devices, addresses and routes are the kernel's.
func TestSharedMatrix(t *testing.T) {
	lab.Need(t)
	for _, rung := range []claim.Rung{claim.TCX, claim.NFT, claim.Holder} {
		for i := range events {
			e := &events[i]
			t.Run(rung.String()+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				judge(t, e, newShared(rung), nil)
			})
		}
	}
}

// tries is how often an event is played if cells differ that should not: a machine
// under load may be slow at what is expected in time.
const tries = 3

// judge plays an event, and again with the rows that are not as they should be.
func judge(t *testing.T, e *event, newOurs func(testing.TB) *host, meant []difference) {
	wrong := make(map[string]string)
	ask := rows()
	for range tries {
		linux, ours := play(t, newKernel(t), e, ask), play(t, newOurs(t), e, ask)
		var again []row
		for i, r := range ask {
			if wrong[r.name] = compare(linux[i], ours[i], excuse(meant, e, &r)); wrong[r.name] != "" {
				again = append(again, r)
			}
		}
		if ask = again; len(again) == 0 {
			break
		}
	}
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			if w := wrong[r.name]; w != "" {
				t.Error("\n" + w)
			}
		})
	}
}

// compare returns what is wrong with a cell, "" if nothing is: it differs from Linux,
// or, in a way that is meant, it does not, or not in that way.
func compare(linux, ours []string, d *difference) string {
	diff := oracle.Diff(linux, ours)
	switch {
	case d == nil:
		return diff
	case diff == "":
		return "does as Linux does, and is listed as a difference: " + d.name
	}
	before, during, after := sections(ours)
	linuxBefore, linuxDuring, _ := sections(linux)
	return oracle.Diff(linuxBefore, before) + oracle.Diff(linuxDuring, during) + oracle.Diff(timeless(before), timeless(after))
}

// onlyNow are what lines say that differs from one phase to the next.
var onlyNow = regexp.MustCompile(`ENETDOWN; |before|after|port\d+`)

// timeless returns lines without that.
func timeless(lines []string) (out []string) {
	for _, l := range lines {
		out = append(out, onlyNow.ReplaceAllString(l, ""))
	}
	return out
}

// sections returns the lines of each phase.
func sections(lines []string) (before, during, after []string) {
	at := func(name string) int { return slices.Index(lines, "-- "+name) }
	b, d, a := at("before"), at("during"), at("after")
	return lines[b+1 : d], lines[d+1 : a], lines[a+1:]
}

// play plays an event on a host, with rows beside one another, and returns what each
// has written.
func play(t *testing.T, h *host, e *event, rows []row) [][]string {
	cells := make([]*cell, len(rows))
	top := oracle.Topology{Name: "device", Hosts: [2]oracle.Host{oracle.Near, oracle.Far},
		Addrs: [2][4]byte{h.near.Addr.As4(), h.far.Addr.As4()}}
	for i := range rows {
		c := &cell{Run: oracle.NewRun(h, top, nil), h: h, row: &rows[i], n: i + 1, patience: patience}
		cells[i] = c
		rows[i].open(c)
	}
	step := func(p phase) {
		for _, c := range cells {
			c.Logf("-- %s", p.name)
			if c.row.calls != nil {
				c.row.calls(c, p)
				continue
			}
			c.use(p)
		}
	}
	step(phase{name: "before", carries: true})
	e.begin(h)
	h.await(e.name, e.is, e.told)
	if e.carries {
		h.probe(t, h)
	}
	step(phase{name: "during", carries: e.carries})
	e.end(h)
	h.configure()
	h.await("as before", asBefore, nil)
	h.probe(t, h)
	for _, c := range cells {
		if (h.ours == nil || h.shared) && excuse(deliberate, e, c.row) != nil {
			c.patience = brief
		}
	}
	step(phase{name: "after", carries: true})
	lines := make([][]string, len(cells))
	for i, c := range cells {
		c.ends()
		lines[i] = c.Lines()
	}
	return lines
}

// README's list of differences has those of devices, and no others.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	check(t, err)
	var has []string
	for l := range strings.Lines(string(readme)) {
		if strings.HasPrefix(l, "| device/") {
			has = append(has, l)
		}
	}
	if want := markdown(); !slices.Equal(has, want) {
		t.Errorf("README has\n%swant\n%s", strings.Join(has, ""), strings.Join(want, ""))
	}
}
