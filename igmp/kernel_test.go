//go:build linux

package igmp_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/test/lab"
	"golang.org/x/sys/unix"
)

// A pair is the kernel and a Host, which are told the same.
type pair struct {
	t     *testing.T
	host  *igmp.Host
	wire  *lab.Packet
	now   int64
	index int
	socks [3]int         // the kernel's sockets
	was   [3]igmp.Filter // of the socket, in the group
	dev   *lab.Endpoint  // where the kernel is
	group ipv4.Addr      // that the sockets are members of
}

// newPair returns both, with a robustness of 1, so that nothing is repeated.
func newPair(t *testing.T) *pair {
	l := lab.New(t, lab.Config{Kernel: lab.Near, Down: true})
	near, far := l.Near(), l.Far()
	for _, err := range []error{near.SetSysctl("net/ipv4/igmp_qrv", "1"), near.SetUp(near.Name), far.SetUp(far.Name)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := near.Device(near.Name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := igmp.DefaultConfig()
	cfg.Robustness = 1
	p := &pair{t: t, host: igmp.New(cfg, func() uint64 { return 12345 }), wire: far.Packet(t), index: d.Index, dev: near}
	p.host.SetAddress(0, near.Addr.As4())
	for i := range p.socks {
		p.was[i] = igmp.NotMember
		near.In(t, func() (err error) {
			p.socks[i], err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			return err
		})
		t.Cleanup(func() { unix.Close(p.socks[i]) })
	}
	return p
}

// set replaces the filter of a socket, here and there.
func (p *pair) set(i int, f igmp.Filter) {
	p.t.Helper()
	if err := p.setKernel(p.socks[i], p.was[i], f); err != nil {
		p.t.Fatal(err)
	}
	p.host.Update(p.now, p.group, p.was[i], f)
	p.was[i] = f
}

func isMember(f igmp.Filter) bool { return f.Mode == igmp.Exclude || len(f.Sources) > 0 }

func (p *pair) setKernel(fd int, old, new igmp.Filter) error {
	mreq := &unix.IPMreqn{Multiaddr: p.group, Ifindex: int32(p.index)}
	if !isMember(new) {
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq)
	}
	addr := p.dev.Addr.As4()
	if !isMember(old) && new.Mode == igmp.Include {
		for _, s := range new.Sources {
			b := slices.Concat(p.group[:], addr[:], s[:])
			if err := unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_ADD_SOURCE_MEMBERSHIP, string(b)); err != nil {
				return err
			}
		}
		return nil
	}
	if !isMember(old) {
		if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq); err != nil {
			return err
		}
		if len(new.Sources) == 0 {
			return nil
		}
	}
	b := slices.Concat(p.group[:], addr[:])
	b = binary.NativeEndian.AppendUint32(b, uint32(new.Mode))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(new.Sources)))
	for _, s := range new.Sources {
		b = append(b, s[:]...)
	}
	return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_MSFILTER, string(b))
}

// kernel returns the kernel's next message within a time, as lines; nil if it sends none.
func (p *pair) kernel(within time.Duration) []string {
	p.t.Helper()
	frame := p.wire.Next(p.t, within, func(f []byte) bool { return len(f) > 38 && f[12] == 8 && f[13] == 0 && f[23] == igmp.Protocol })
	if frame == nil {
		return nil
	}
	ip := frame[14:]
	if ip[0] != 0x46 || ip[1] != 0xc0 || ip[6] != 0x40 || ip[8] != 1 || ipv4.Addr(ip[20:24]) != (ipv4.Addr{0x94, 4, 0, 0}) {
		p.t.Errorf("the kernel's header has changed: %x", ip[:24])
	}
	return p.lines(ipv4.Addr(ip[16:20]), ip[24:binary.BigEndian.Uint16(ip[2:])])
}

// ours returns the Host's messages of the next second, as lines.
func (p *pair) ours() (lines []string) {
	p.t.Helper()
	end := p.now + int64(time.Second)
	for p.host.Deadline() <= end {
		p.host.Advance(p.host.Deadline())
	}
	p.now = end
	for {
		m, ok := p.host.Next(nil)
		if !ok {
			return lines
		}
		lines = append(lines, p.lines(m.Dst, m.Message)...)
	}
}

// lines writes a message as lines, one for each record, sorted. The kernel orders
// records and sources in its own way.
func (p *pair) lines(dst ipv4.Addr, b []byte) (lines []string) {
	p.t.Helper()
	m, c := igmp.Parse(b)
	if c != igmp.CauseNone {
		p.t.Fatalf("%v: %s", c, hex.EncodeToString(b))
	}
	if m.Type() != igmp.ReportV3 {
		return []string{fmt.Sprintf("to %v type %#x group %v", dst, m.Type(), m.Group())}
	}
	r := m.FirstRecord()
	for i := range m.NumRecords() {
		if i > 0 {
			r = r.Next()
		}
		var sources []string
		for i := range r.NumSources() {
			sources = append(sources, fmt.Sprint(r.Source(i)[3]))
		}
		slices.Sort(sources)
		lines = append(lines, fmt.Sprintf("to %v %v %v {%s}", dst, r.Type(), r.Group(), strings.Join(sources, " ")))
	}
	slices.Sort(lines)
	return lines
}

// compare compares what both say next.
func (p *pair) compare(what string) {
	p.t.Helper()
	ours := p.ours()
	within := lab.Patience
	if len(ours) == 0 {
		within = 50 * time.Millisecond
	}
	if kernel := p.kernel(within); !slices.Equal(ours, kernel) {
		p.t.Errorf("%s: we say\n\t%s\nthe kernel\n\t%s", what, strings.Join(ours, "\n\t"), strings.Join(kernel, "\n\t"))
	}
}

// query lets both hear a query.
func (p *pair) query(b []byte) {
	p.t.Helper()
	group := ipv4.Addr(b[4:8])
	if group.IsUnspecified() {
		group = igmp.AllSystems
	}
	fix(b, 2)
	ip := slices.Concat([]byte{0x46, 0xc0, 0, byte(24 + len(b)), 0, 0, 0x40, 0, 1, igmp.Protocol, 0, 0, 10, 9, 0, 2}, group[:], []byte{0x94, 4, 0, 0})
	fix(ip, 10)
	eth := []byte{1, 0, 0x5e, group[1] & 0x7f, group[2], group[3], 2, 0, 10, 9, 0, 2, 8, 0}
	p.wire.Send(p.t, slices.Concat(eth, ip, b))
	c := p.host.Input(p.now, igmp.Packet{Src: ipv4.Addr{10, 9, 0, 2}, Dst: group, TTL: 1, RouterAlert: true, Payload: b})
	if c != igmp.CauseNone {
		p.t.Errorf("query %x: %v", b, c)
	}
}

// fix writes the Internet checksum at an offset.
func fix(b []byte, at int) {
	b[at], b[at+1] = 0, 0
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i&1))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[at:], ^uint16(sum))
}

func filter(m igmp.Mode, n ...byte) igmp.Filter {
	f := igmp.Filter{Mode: m}
	for _, i := range n {
		f.Sources = append(f.Sources, ipv4.Addr{10, 9, 1, i})
	}
	return f
}

// We say what the kernel says: on joins, leaves and changes of filters of several
// sockets, and in response to queries.
func TestLikeTheKernel(t *testing.T) {
	p := newPair(t)
	in := func(n ...byte) igmp.Filter { return filter(igmp.Include, n...) }
	ex := func(n ...byte) igmp.Filter { return filter(igmp.Exclude, n...) }
	type op struct {
		sock int
		f    igmp.Filter
	}
	for i, tc := range []struct {
		name string
		ops  []op
	}{
		{"plain", []op{{0, ex()}, {1, ex()}, {0, igmp.NotMember}, {1, igmp.NotMember}}},
		{"include", []op{{0, in(1)}, {1, in(1, 2)}, {1, in(2, 3)}, {0, igmp.NotMember}, {1, igmp.NotMember}}},
		{"exclude", []op{{0, ex()}, {0, ex(1, 2)}, {0, ex(2, 3)}, {0, igmp.NotMember}}},
		{"exclude and plain", []op{{0, ex()}, {0, ex(1, 2)}, {1, ex()}, {1, igmp.NotMember}, {0, igmp.NotMember}}},
		{"include, then plain", []op{{0, in(1)}, {1, ex()}, {1, igmp.NotMember}, {0, igmp.NotMember}}},
		{"change of mode", []op{{0, in(1, 2)}, {0, ex(2)}, {0, in(3)}, {0, igmp.NotMember}}},
	} {
		p.group = ipv4.Addr{239, 77, 0, byte(i)}
		for j, o := range tc.ops {
			p.set(o.sock, o.f)
			p.compare(fmt.Sprintf("%s, step %d", tc.name, j+1))
		}
	}

	p.group = ipv4.Addr{239, 77, 1, 1}
	p.set(0, in(1, 2))
	p.compare("include")
	query := func(sources ...byte) []byte {
		q := slices.Concat([]byte{0x11, 1, 0, 0}, p.group[:], []byte{1, 125, 0, byte(len(sources))})
		for _, s := range sources {
			q = append(q, 10, 9, 1, s)
		}
		return q
	}
	general := []byte{0x11, 1, 0, 0, 0, 0, 0, 0, 1, 125, 0, 0}
	for _, q := range [][]byte{general, query(), query(2, 3), query(7)} {
		p.query(q)
		p.compare(fmt.Sprintf("query %x", q))
	}
	p.set(1, ex(1, 3))
	p.compare("exclude")
	for _, q := range [][]byte{general, query()} {
		p.query(q)
		p.compare(fmt.Sprintf("query %x", q))
	}

	// A version 2 querier, then one of version 1.
	p.query([]byte{0x11, 1, 0, 0, 0, 0, 0, 0})
	p.compare("version 2")
	p.group = ipv4.Addr{239, 77, 1, 2}
	p.set(2, in(9))
	p.compare("version 2 join")
	p.set(2, igmp.NotMember)
	p.compare("version 2 leave")
	p.set(2, ex())
	p.compare("version 2 join again")
	p.set(2, igmp.NotMember)
	p.compare("version 2 leave again")
	p.group = ipv4.Addr{239, 77, 1, 1}
	p.set(0, igmp.NotMember)
	p.set(1, igmp.NotMember)
	p.compare("version 2 leave of two sockets")
	p.query([]byte{0x11, 0, 0, 0, 0, 0, 0, 0})
	p.set(2, ex())
	p.compare("version 1 join")
	p.set(2, igmp.NotMember)
	p.compare("version 1 leave")
}
