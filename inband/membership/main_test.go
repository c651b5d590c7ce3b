package membership

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needLab skips a test that needs namespaces where there can be none; on a
// machine that promises them (CI) that is a failure.
func needLab(t *testing.T) {
	t.Helper()
	if inband.HasCapability(netlab.Capabilities...) {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("CI without the capabilities for network namespaces")
	}
	t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: run as root")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip4(s string) [4]byte { return netip.MustParseAddr(s).As4() }

// A lab is a host with Groups, and a router that hears what the host's kernel reports.
type lab struct {
	t      *testing.T
	host   *netlab.Namespace
	far    *netlab.Namespace
	device int32
	groups *Groups
	router *router
}

func newLab(t *testing.T) *lab {
	t.Helper()
	needLab(t)
	l := &lab{t: t}
	for _, n := range []**netlab.Namespace{&l.host, &l.far} {
		var err error
		*n, err = netlab.NewNamespace()
		must(t, err)
		t.Cleanup(func() { must(t, (*n).Close()) })
	}
	must(t, l.host.AddVeth(netlab.Veth{Name: "near0", PeerName: "far0", Peer: l.far, Index: 100}))
	must(t, l.host.AddAddress("near0", netip.MustParsePrefix("10.0.0.1/24")))
	must(t, l.far.SetUp("far0"))
	l.router = newRouter(t, l.far, "far0")
	must(t, l.host.SetUp("near0"))
	d, err := l.host.Device("near0")
	must(t, err)
	l.device = int32(d.Index)
	must(t, l.host.Do(func() error { l.groups, err = Open(); return err }))
	t.Cleanup(l.groups.Close)
	return l
}

// set is Groups.Set.
func (l *lab) set(group string, f Filter) {
	l.t.Helper()
	must(l.t, l.groups.Set(ip4(group), l.device, f))
}

// users returns what /proc/net/igmp says of a group's users, 0 if there are none.
func (l *lab) users(group string) int {
	l.t.Helper()
	text, err := l.host.ReadFile("net/igmp")
	must(l.t, err)
	a := ip4(group)
	name := strings.ToUpper(strconv.FormatUint(uint64(a[3])<<24|uint64(a[2])<<16|uint64(a[1])<<8|uint64(a[0]), 16))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == strings.Repeat("0", 8-len(name))+name {
			n, err := strconv.Atoi(fields[1])
			must(l.t, err)
			return n
		}
	}
	return 0
}

// A router is what is told of groups on a link, by IGMPv3 (RFC 3376).
type router struct {
	fd   int
	view map[[4]byte]Filter
}

func newRouter(t *testing.T, n *netlab.Namespace, device string) *router {
	t.Helper()
	d, err := n.Device(device)
	must(t, err)
	r := &router{view: map[[4]byte]Filter{}}
	must(t, n.Do(func() (err error) {
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_IP)), Ifindex: d.Index})
	}))
	t.Cleanup(func() { unix.Close(r.fd) })
	return r
}

// The types of an IGMPv3 report's records (RFC 3376 section 4.2.12).
const (
	modeIsInclude = iota + 1
	modeIsExclude
	changeToInclude
	changeToExclude
	allowNew
	blockOld
)

// hear takes in the reports that have come.
func (r *router) hear(t *testing.T) {
	t.Helper()
	buf := make([]byte, 2048)
	for {
		n, err := unix.Read(r.fd, buf)
		if err == unix.EAGAIN {
			return
		}
		must(t, err)
		header := int(buf[0]&15) * 4
		if n < header+8 || buf[9] != unix.IPPROTO_IGMP || buf[header] != 0x22 {
			continue
		}
		b := buf[header+8 : n]
		for range int(buf[header+6])<<8 | int(buf[header+7]) {
			sources := int(b[2])<<8 | int(b[3])
			r.record(b[0], [4]byte(b[4:]), b[8:8+4*sources])
			b = b[8+4*sources:]
		}
	}
}

// record takes in one record.
func (r *router) record(kind byte, group [4]byte, b []byte) {
	var sources [][4]byte
	for ; len(b) > 0; b = b[4:] {
		sources = append(sources, [4]byte(b))
	}
	old, ok := r.view[group]
	if !ok {
		old = NotMember
	}
	switch kind {
	case modeIsInclude, changeToInclude:
		r.view[group] = Filter{Include, sources}.normal()
	case modeIsExclude, changeToExclude:
		r.view[group] = Filter{Exclude, sources}.normal()
	case allowNew, blockOld:
		if (kind == allowNew) == (old.Mode == Include) {
			old.Sources = append(old.Sources, sources...)
		} else {
			old.Sources = without(old.Sources, sources)
		}
		r.view[group] = old.normal()
	}
}

func without(all, gone [][4]byte) (left [][4]byte) {
	for _, s := range all {
		if !contains(gone, s) {
			left = append(left, s)
		}
	}
	return left
}

func contains(all [][4]byte, s [4]byte) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// wants waits until the router has been told what is wanted of a group.
func (l *lab) wants(group string, f Filter) {
	l.t.Helper()
	f = f.normal()
	var got Filter
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		l.router.hear(l.t)
		var ok bool
		if got, ok = l.router.view[ip4(group)]; !ok {
			got = NotMember
		}
		if got.equal(f) {
			return
		}
	}
	l.t.Fatalf("the router was told %+v of %s, want %+v", got, group, f)
}
