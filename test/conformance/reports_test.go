package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// What our stack says by IGMP, compared with what the kernel says when its
// sockets do the same: two wires, ours at the end of one, the kernel at that of the
// other, and a test's hand at the far ends.

// brief is the time within which both repeat their reports.
const brief = 10 * time.Millisecond

// A duo is our stack and the kernel, which are told the same by calls of their sockets
// and by queries.
type duo struct {
	t     *testing.T
	ends  [2]*lab.Endpoint
	wires [2]*lab.Packet
	index [2]int
	ifc   *stack.Interface
	apis  *sockapi.API
	socks [][2]*sockapi.Socket
	// said is how many records and short messages both have sent, and headers is what
	// was around the first of each kind.
	said    int
	headers map[string][]byte
}

func newDuo(t *testing.T, robustness, sockets int) *duo {
	t.Helper()
	d := &duo{t: t, headers: map[string][]byte{}}
	for i, kernel := range []lab.Kernel{lab.None, lab.Near} {
		l := lab.New(t, lab.Config{Kernel: kernel, Down: true})
		near, far := l.Near(), l.Far()
		for name, v := range map[string]string{
			"igmp_qrv": fmt.Sprint(robustness),
			"conf/" + near.Name + "/igmpv2_unsolicited_report_interval": fmt.Sprint(brief.Milliseconds()),
			"conf/" + near.Name + "/igmpv3_unsolicited_report_interval": fmt.Sprint(brief.Milliseconds()),
		} {
			check(t, near.SetSysctl("net/ipv4/"+name, v))
		}
		check(t, near.SetUp(near.Name))
		check(t, far.SetUp(far.Name))
		d.ends[i], d.wires[i], d.index[i] = near, far.Packet(t), index(t, near)
	}
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { st.Close() })
	cfg := igmp.DefaultConfig()
	cfg.Robustness, cfg.UnsolicitedV2, cfg.UnsolicitedV3 = robustness, brief, brief
	ring := openRing(t, d.ends[0], tpacket.Options{})
	d.ifc, err = st.AddLink(ring, stack.InterfaceConfig{IGMP: cfg})
	check(t, err)
	check(t, d.ifc.AddAddress(d.ends[0].Prefix()))
	await(t, "link up", func() bool { return ring.Info().State == link.Up })
	d.index[0] = d.ifc.Index()
	d.apis = sockapi.New(st)
	for range sockets {
		d.socks = append(d.socks, d.open())
	}
	return d
}

// open opens a socket of each.
func (d *duo) open() (pair [2]*sockapi.Socket) {
	d.t.Helper()
	for i, typ := range []int{unix.SOCK_DGRAM | sockapi.SOCK_OOB, unix.SOCK_DGRAM} {
		d.ends[1].In(d.t, func() (err error) {
			pair[i], err = d.apis.Socket(unix.AF_INET, typ, 0)
			return err
		})
		d.t.Cleanup(func() { pair[i].Close() })
	}
	return pair
}

// call makes both sockets do the same.
func (d *duo) call(sock, name int, value func(index int) []byte) {
	d.t.Helper()
	var errs [2]error
	for i, s := range d.socks[sock] {
		errs[i] = s.Setsockopt(unix.SOL_IP, name, value(d.index[i]))
	}
	if errs[0] != errs[1] {
		d.t.Fatalf("option %d: %v here, %v in-band", name, errs[0], errs[1])
	}
}

// query lets both hear a query.
func (d *duo) query(q lab.IGMPQuery) {
	d.t.Helper()
	if q.Src == [4]byte{} {
		q.Src = [4]byte{10, 9, 0, 2}
	}
	count := func() uint64 { // of those for us, and those that are not
		rx := d.ifc.GroupStats().RxQueries
		return rx[1] + rx[2] + rx[3] + d.apis.Stack().Stats().Get("OutbandDropNoMember")
	}
	before := count()
	for _, w := range d.wires {
		w.Send(d.t, q.Frame([6]byte{2, 0, 10, 9, 0, 2}))
	}
	await(d.t, "the query", func() bool { return count() > before })
}

const never = 1<<63 - 1

// quiet reports whether our stack has nothing more to say.
func (d *duo) quiet() bool {
	groups, status := d.ifc.Groups()
	return status.ChangeTimer == never && status.GeneralTimer == never &&
		!slices.ContainsFunc(groups, func(g igmp.GroupInfo) bool { return g.Timer != never })
}

// heard returns the lines of what comes over a wire until there are n.
func (d *duo) heard(i, n int) (lines []string) {
	d.t.Helper()
	for len(lines) < n {
		h, ok := d.wires[i].NextIGMP(d.t, lab.Patience)
		if !ok {
			break
		}
		d.checkHeaders(i, h)
		got := h.Lines()
		slices.Sort(got) // the kernel has an order of its own within a message
		lines = append(lines, got...)
	}
	return lines
}

// checkHeaders compares what is around a message with what the kernel's first one of
// the kind had around it.
func (d *duo) checkHeaders(i int, h lab.Heard) {
	d.t.Helper()
	b := slices.Clone(h.Frame[:38])
	for _, at := range []int{16, 17, 24, 25} { // the length, and the header's checksum
		b[at] = 0
	}
	kind := fmt.Sprint(h.Message.Type(), h.Dst)
	if d.headers[kind] == nil {
		d.headers[kind] = b
	}
	if !slices.Equal(b, d.headers[kind]) {
		d.t.Errorf("%s around message type %#x: % x\nof the other % x", [...]string{"ours", "the kernel's"}[i], h.Message.Type(), b, d.headers[kind])
	}
}

// compare waits until both have said what they have to say, and compares it. Older
// responses come each when its time has come: sorted then.
func (d *duo) compare(what string, sorted bool) {
	d.t.Helper()
	await(d.t, "silence", d.quiet)
	st := d.ifc.GroupStats()
	n := int(st.TxReportsV1 + st.TxReportsV2 + st.TxLeaves)
	for _, r := range st.TxRecords {
		n += int(r)
	}
	ours := d.heard(0, n-d.said)
	kernels := d.heard(1, n-d.said)
	d.said = n
	if sorted {
		slices.Sort(ours)
		slices.Sort(kernels)
	}
	if !slices.Equal(ours, kernels) {
		d.t.Fatalf("%s: we say\n\t%s\nthe kernel\n\t%s", what, strings.Join(ours, "\n\t"), strings.Join(kernels, "\n\t"))
	}
}

// silence fails the test if either has more to say.
func (d *duo) silence() {
	d.t.Helper()
	for i, who := range []string{"we say", "the kernel says"} {
		if h, more := d.wires[i].NextIGMP(d.t, 100*time.Millisecond); more {
			d.t.Errorf("%s more: %q", who, h.Lines())
		}
	}
}

// A turn is a call or a query, of both.
type turn struct {
	name  string
	sock  int
	opt   int
	value func(index int) []byte
	query *lab.IGMPQuery
}

func (d *duo) play(turns []turn) {
	d.t.Helper()
	for i, tn := range turns {
		if tn.query != nil {
			d.query(*tn.query)
		} else {
			d.call(tn.sock, tn.opt, tn.value)
		}
		d.compare(fmt.Sprintf("turn %d, %s", i+1, tn.name), tn.query != nil)
	}
	d.silence()
}

// from is the address of one of the sources of the network.
func from(n byte) [4]byte { return [4]byte{10, 9, 0, n} }

func joins(sock int, g [4]byte) turn {
	return turn{"join", sock, unix.MCAST_JOIN_GROUP, groupReq(g), nil}
}
func leaves(sock int, g [4]byte) turn {
	return turn{"leave", sock, unix.MCAST_LEAVE_GROUP, groupReq(g), nil}
}
func sourceTurn(name string, opt int) func(sock int, g [4]byte, n byte) turn {
	return func(sock int, g [4]byte, n byte) turn {
		return turn{name, sock, opt, groupSourceReq(g, from(n)), nil}
	}
}

var (
	joinsSource  = sourceTurn("join source", unix.MCAST_JOIN_SOURCE_GROUP)
	leavesSource = sourceTurn("leave source", unix.MCAST_LEAVE_SOURCE_GROUP)
	blocks       = sourceTurn("block", unix.MCAST_BLOCK_SOURCE)
	unblocks     = sourceTurn("unblock", unix.MCAST_UNBLOCK_SOURCE)
)

func filters(sock int, g [4]byte, mode uint32, n ...byte) turn {
	var list [][4]byte
	for _, i := range n {
		list = append(list, from(i))
	}
	return turn{"filter", sock, unix.MCAST_MSFILTER, groupFilter(g, mode, list...), nil}
}

func asks(name string, q lab.IGMPQuery) turn { return turn{name: name, query: &q} }

// Record by record, version 3 is spoken as the kernel speaks it, repetitions
// included.
func TestReportsLikeTheKernel(t *testing.T) {
	local := [4]byte{224, 0, 0, 77}
	for _, robustness := range []int{1, 2, 3} {
		t.Run(fmt.Sprint("robustness ", robustness), func(t *testing.T) {
			d := newDuo(t, robustness, 3)
			r := uint8(robustness)
			d.play([]turn{
				joins(0, groupA), joins(1, groupA), leaves(0, groupA), leaves(1, groupA), // plain
				joins(0, local), leaves(0, local),
				joinsSource(0, groupA, 51), joinsSource(0, groupA, 52), joinsSource(1, groupA, 52), // include
				joinsSource(1, groupA, 53), leavesSource(0, groupA, 52), leavesSource(0, groupA, 51), leaves(1, groupA),
				joins(0, groupB), blocks(0, groupB, 51), blocks(0, groupB, 52), unblocks(0, groupB, 51), // exclude
				joins(1, groupB), blocks(1, groupB, 52), leaves(1, groupB), leaves(0, groupB),
				joinsSource(0, groupA, 51), joins(1, groupA), blocks(1, groupA, 52), leaves(1, groupA), leaves(0, groupA), // both
				joins(0, groupA), filters(0, groupA, unix.MCAST_INCLUDE, 51, 52), filters(0, groupA, unix.MCAST_EXCLUDE, 52, 53),
				filters(0, groupA, unix.MCAST_EXCLUDE), filters(0, groupA, unix.MCAST_INCLUDE, 60), filters(0, groupA, unix.MCAST_INCLUDE),
				joins(0, groupA), joinsSource(0, groupB, 51), joins(2, local), // queries
				asks("general query", lab.IGMPQuery{Robustness: r}),
				asks("of a switch", lab.IGMPQuery{Robustness: r, Src: [4]byte{0, 0, 0, 0}}),
				asks("query of A", lab.IGMPQuery{Robustness: r, Group: groupA}),
				asks("query of B", lab.IGMPQuery{Robustness: r, Group: groupB}),
				asks("query of B's sources", lab.IGMPQuery{Robustness: r, Group: groupB, Sources: [][4]byte{from(51), from(52)}}),
				asks("query of a group not joined", lab.IGMPQuery{Robustness: r, Group: [4]byte{239, 9, 1, 7}}),
				leaves(0, groupA), leaves(2, local), leaves(0, groupB),
			})
		})
	}
}

// Versions 2 and 1, while a querier of theirs is there.
func TestOlderReportsLikeTheKernel(t *testing.T) {
	t.Run("version 2", func(t *testing.T) {
		d := newDuo(t, 2, 2)
		d.play([]turn{
			joins(0, groupA), joinsSource(1, groupB, 51),
			asks("general query", lab.IGMPQuery{Version: 2}),
			asks("query of A", lab.IGMPQuery{Version: 2, Group: groupA}),
			asks("query of version 3", lab.IGMPQuery{}),
			joins(0, [4]byte{239, 9, 1, 3}), joinsSource(1, groupB, 52), blocks(0, groupA, 51),
			leaves(0, [4]byte{239, 9, 1, 3}), leavesSource(1, groupB, 52), leaves(1, groupB), leaves(0, groupA),
		})
	})
	t.Run("version 1", func(t *testing.T) {
		d := newDuo(t, 2, 2)
		d.play([]turn{
			joins(0, groupA), leaves(0, groupA),
			asks("nothing to report", lab.IGMPQuery{Version: 1}),
			joins(0, groupA), leaves(0, groupA), joinsSource(1, groupB, 51), leaves(1, groupB),
		})
	})
	t.Run("and back", func(t *testing.T) {
		d := newDuo(t, 2, 2)
		short := lab.IGMPQuery{Robustness: 1, Interval: 1}
		d.play([]turn{
			joins(0, groupA), asks("one second", short),
			asks("version 2", lab.IGMPQuery{Version: 2}), joins(0, groupB),
		})
		await(t, "version 3 again", func() bool { _, st := d.ifc.Groups(); return st.Version == 3 })
		time.Sleep(200 * time.Millisecond) // the kernel has come back by then
		d.play([]turn{joins(1, [4]byte{239, 9, 1, 3}), leaves(0, groupA), leaves(0, groupB), leaves(1, [4]byte{239, 9, 1, 3})})
	})
}
