package routers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// A router is FRRouting's zebra and pimd at the far end of the lab, with a folder of
// their own for their configuration and sockets.
type router struct {
	t     *testing.T
	at    *lab.Endpoint
	dir   string
	vtysh string
}

// daemons is where the package frr has its daemons.
const daemons = "/usr/lib/frr/"

// newRouter starts a querier that asks each second.
func newRouter(t *testing.T, at *lab.Endpoint, version int) *router {
	t.Helper()
	zebra, pimd := lab.NeedProgram(t, daemons+"zebra"), lab.NeedProgram(t, daemons+"pimd")
	r := &router{t: t, at: at, vtysh: lab.NeedProgram(t, "vtysh")}
	r.folder()
	r.file("zebra.conf", "")
	r.file("pimd.conf", fmt.Sprintf("interface %s\n ip igmp\n ip igmp version %d\n ip igmp query-max-response-time 5\n"+
		" ip igmp query-interval 1\n ip igmp last-member-query-interval 1\n", at.Name, version))
	check(t, at.SetUp("lo"))
	for _, daemon := range []string{zebra, pimd} {
		name := filepath.Base(daemon)
		lab.Start(t, at.Namespace, daemon, "-f", filepath.Join(r.dir, name+".conf"), "-i", filepath.Join(r.dir, name+".pid"),
			"-z", filepath.Join(r.dir, "zserv.api"), "--vty_socket", r.dir, "-A", "127.0.0.1", "-P", "0")
		await(t, name+"'s socket", func() bool {
			_, err := os.Stat(filepath.Join(r.dir, name+".vty"))
			return !errors.Is(err, fs.ErrNotExist)
		})
	}
	return r
}

// folder makes a folder for the daemons, which run as a user of their own: one
// below that of the test is not theirs to enter.
func (r *router) folder() {
	r.t.Helper()
	u, err := user.Lookup("frr")
	check(r.t, err)
	r.dir, err = os.MkdirTemp("", "routers")
	check(r.t, err)
	r.t.Cleanup(func() { os.RemoveAll(r.dir) })
	r.give(r.dir, u)
}

func (r *router) give(path string, u *user.User) {
	r.t.Helper()
	uid, err := strconv.Atoi(u.Uid)
	check(r.t, err)
	gid, err := strconv.Atoi(u.Gid)
	check(r.t, err)
	check(r.t, os.Chown(path, uid, gid))
}

func (r *router) file(name, text string) {
	r.t.Helper()
	check(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644))
}

// show returns what the router says to a command, as JSON.
func (r *router) show(command string) map[string]json.RawMessage {
	r.t.Helper()
	out := lab.Output(r.t, r.at.Namespace, r.vtysh, "--vty_socket", r.dir, "-c", command+" json")
	var all map[string]json.RawMessage
	if err := json.Unmarshal(out, &all); err != nil {
		r.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return all
}

// known returns what the router knows about a group: "" if nothing or nothing wanted,
// else version, mode and sources.
func (r *router) known(group [4]byte) string {
	r.t.Helper()
	name := netip.AddrFrom4(group).String()
	var groups struct {
		Groups []struct {
			Group   string
			Mode    string
			Version int
		}
	}
	if raw, ok := r.show("show ip igmp groups")[r.at.Name]; ok {
		check(r.t, json.Unmarshal(raw, &groups))
	}
	for _, g := range groups.Groups {
		if g.Group != name {
			continue
		}
		sources := r.sources(name)
		if g.Version == 2 { // which knows one mode only
			g.Mode = "EXCLUDE"
		}
		if g.Mode == "INCLUDE" && len(sources) == 0 {
			return "" // what is left of it until its timer ends
		}
		return strings.Join(append([]string{fmt.Sprintf("v%d %s", g.Version, g.Mode)}, sources...), " ")
	}
	return ""
}

// sources returns the sources of a group that the router knows.
func (r *router) sources(group string) (all []string) {
	r.t.Helper()
	var groups map[string]json.RawMessage
	if raw, ok := r.show("show ip igmp sources")[r.at.Name]; ok {
		check(r.t, json.Unmarshal(raw, &groups))
	}
	var list struct{ Sources []struct{ Source string } }
	if raw, ok := groups[group]; ok {
		check(r.t, json.Unmarshal(raw, &list))
	}
	for _, s := range list.Sources {
		all = append(all, s.Source)
	}
	slices.Sort(all)
	return all
}

// knows waits until the router knows this about a group.
func (r *router) knows(group [4]byte, want string) {
	r.t.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = r.known(group); got == want {
			return
		}
	}
	r.t.Fatalf("of %v the router knows %q, want %q", group, got, want)
}

// outlasts waits until the querier has asked so often: three times is for how long it
// keeps members that do not answer.
func (r *router) outlasts(h *host, queries uint64) {
	r.t.Helper()
	if h.shared { // where the kernel hears them
		r.outlastsInBand(h, queries)
		return
	}
	heard := func() uint64 { q := h.ifc.GroupStats().RxQueries; return q[1] + q[2] + q[3] }
	before := heard()
	await(r.t, "queries", func() bool { return heard() >= before+queries })
}

// outlastsInBand is outlasts by an in-band socket of the host's.
func (r *router) outlastsInBand(h *host, queries uint64) {
	r.t.Helper()
	fd := -1
	h.lab.Near().In(r.t, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_IGMP)
		return err
	})
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(patience.Nanoseconds())
	check(r.t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	const query = 0x11 // RFC 3376, section 4
	b := make([]byte, 1500)
	for heard := uint64(0); heard < queries; {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err == unix.EINTR {
			continue
		}
		check(r.t, err)
		if at := int(b[0]&15) * 4; n > at && b[at] == query {
			heard++
		}
	}
}

// frrHosts are the hosts that a router judges: with an address of its own, and on the
// kernel's.
func frrHosts(t *testing.T, version int, judge func(t *testing.T, r *router, h *host)) {
	t.Parallel()
	for name, kind := range map[string]struct {
		kernel lab.Kernel
		open   func(testing.TB, *lab.Lab) *host
	}{"own address": {lab.Far, newHost}, "shared address": {lab.All, newSharedHost}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t, lab.Config{Kernel: kind.kernel})
			r, h := newRouter(t, l.Far(), version), kind.open(t, l)
			judge(t, r, h)
		})
	}
}

func TestFRR3(t *testing.T) { frrHosts(t, 3, frr3) }

func frr3(t *testing.T, r *router, h *host) {
	h.speaks(3)
	k, other := h.udp(7), h.udp(8)
	check(t, k.Multicast().JoinGroup(h.on(groupA)))
	check(t, k.Multicast().JoinSource(h.on(groupB), from(2)))
	check(t, k.Multicast().JoinSource(h.on(groupB), from(3)))
	r.knows(groupA, "v3 EXCLUDE *")
	r.knows(groupB, "v3 INCLUDE 10.9.0.2 10.9.0.3")
	check(t, k.Multicast().BlockSource(h.on(groupA), from(4)))
	r.knows(groupA, "v3 EXCLUDE 10.9.0.4")
	check(t, other.Multicast().JoinSource(h.on(groupB), from(5)))
	check(t, k.Multicast().LeaveSource(h.on(groupB), from(2)))
	r.knows(groupB, "v3 INCLUDE 10.9.0.3 10.9.0.5")
	r.outlasts(h, 6)
	r.knows(groupA, "v3 EXCLUDE 10.9.0.4")
	r.knows(groupB, "v3 INCLUDE 10.9.0.3 10.9.0.5")

	check(t, k.Multicast().LeaveGroup(h.on(groupA)))
	check(t, k.Multicast().LeaveGroup(h.on(groupB)))
	r.knows(groupA, "")
	r.knows(groupB, "v3 INCLUDE 10.9.0.5")
	check(t, k.Multicast().JoinGroup(h.on(groupB))) // and to all sources, with a filter for one
	r.knows(groupB, "v3 EXCLUDE *")
	check(t, k.Multicast().JoinGroup(h.on(groupC)))
	r.knows(groupC, "v3 EXCLUDE *")
	check(t, h.close())
	r.knows(groupB, "")
	r.knows(groupC, "")
}

func TestFRR2(t *testing.T) { frrHosts(t, 2, frr2) }

func frr2(t *testing.T, r *router, h *host) {
	h.speaks(2)
	k := h.udp(7)
	check(t, k.Multicast().JoinGroup(h.on(groupA)))
	check(t, k.Multicast().JoinSource(h.on(groupB), from(2))) // sources are not for version 2
	r.knows(groupA, "v2 EXCLUDE *")
	r.knows(groupB, "v2 EXCLUDE *")
	check(t, k.Multicast().LeaveGroup(h.on(groupA)))
	r.knows(groupA, "")
	r.outlasts(h, 6)
	r.knows(groupB, "v2 EXCLUDE *")
	check(t, h.close())
	r.knows(groupB, "")
}

// For a router the stack and in-band programs on one address are one host: one that leaves
// does not cut off another.
func TestFRRSeesOneHost(t *testing.T) {
	t.Parallel()
	l := lab.New(t, lab.Config{Kernel: lab.All})
	r, h := newRouter(t, l.Far(), 3), newSharedHost(t, l)
	k, inBand := h.udp(7), l.Near().UDP(t, 8)
	ours := [2]func() error{func() error { return k.Multicast().JoinGroup(h.on(groupA)) }, func() error { return k.Multicast().LeaveGroup(h.on(groupA)) }}
	theirs := [2]func() error{func() error { return setGroup(inBand, l.Near(), unix.IP_ADD_MEMBERSHIP, groupA) },
		func() error { return setGroup(inBand, l.Near(), unix.IP_DROP_MEMBERSHIP, groupA) }}
	for _, o := range [][2][2]func() error{{ours, theirs}, {theirs, ours}} {
		check(t, o[0][0]())
		r.knows(groupA, "v3 EXCLUDE *")
		check(t, o[1][0]())
		check(t, o[0][1]())
		r.outlasts(h, 6)
		r.knows(groupA, "v3 EXCLUDE *")
		check(t, o[1][1]())
		r.knows(groupA, "")
	}
}
