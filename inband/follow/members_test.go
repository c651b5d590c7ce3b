package follow

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// join has an in-band socket join a group, and returns what leaves it.
func (l *lab) join(t *testing.T, group, device string) (leave func()) {
	t.Helper()
	var fd int
	must(t, l.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: ip4(group), Ifindex: l.index(device)})
	}))
	return func() { unix.Close(fd) }
}

func TestMembersBeside(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	up0, up1 := l.index("up0"), l.index("up1")
	a, b := ip4("239.1.2.3"), ip4("239.1.2.4")
	now := time.Now()
	beside := func(group [4]byte, device int32, own int) bool {
		return k.members.beside(membership{group, device}, own, now)
	}
	check := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %t", what, got)
		}
	}
	check("nobody", beside(a, up0, 0), false)
	leave := l.join(t, "239.1.2.3", "up0")
	check("looked at a moment ago", beside(a, up0, 0), false)
	now = now.Add(membersPause)
	check("another's", beside(a, up0, 0), true)
	check("another device", beside(a, up1, 0), false)
	check("another group", beside(b, up0, 0), false)
	// We join and leave: it is looked at again, though no second has passed.
	ours := l.join(t, "239.1.2.3", "up0")
	check("another's and ours", beside(a, up0, 1), true)
	leave()
	check("not looked at again", beside(a, up0, 1), true)
	now = now.Add(membersPause)
	check("ours alone", beside(a, up0, 1), false)
	leave = l.join(t, "239.1.2.3", "up0")
	second := l.join(t, "239.1.2.3", "up0")
	check("two of ours, another's", beside(a, up0, 2), true)
	leave()
	ours()
	second()
	check("all left", beside(a, up0, 0), false)
	// The kernel itself is a member of this one.
	check("all hosts", beside(ip4("224.0.0.1"), up0, 0), true)
	// Ours leaves after a look that was for the sake of another group.
	ours = l.join(t, "239.1.2.3", "up0")
	check("ours", beside(a, up0, 1), false)
	now = now.Add(membersPause)
	check("another group", beside(b, up0, 0), false)
	ours()
	check("ours has left", beside(a, up0, 0), false)
	// Ours joins where there is another, which was not asked about.
	leave = l.join(t, "239.1.2.4", "up1")
	now = now.Add(membersPause)
	check("another look", beside(a, up0, 0), false)
	ours = l.join(t, "239.1.2.4", "up1")
	check("ours beside what was not asked about", beside(b, up1, 1), true)
	ours()
	leave()
	// Both join at once.
	ours, leave = l.join(t, "239.1.2.5", "up1"), l.join(t, "239.1.2.5", "up1")
	check("two since the last look", beside(ip4("239.1.2.5"), up1, 1), true)
	ours()
	leave()
}

// TestMembersUnseen has no file to look at: then there may be members.
func TestMembersUnseen(t *testing.T) {
	m := members{fd: -1}
	if !m.beside(membership{ip4("239.1.2.3"), 2}, 0, time.Now()) {
		t.Error("nobody")
	}
	f, err := os.CreateTemp(t.TempDir(), "igmp")
	must(t, err)
	defer f.Close()
	m = members{fd: int(f.Fd())}
	if m.beside(membership{ip4("239.1.2.3"), 2}, 0, time.Now()) {
		t.Error("in an empty file: somebody")
	}
	// More than are told apart.
	fmt.Fprintf(f, "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n2\teth0      :     1      V3\n")
	for i := range maxMemberships + 1 {
		fmt.Fprintf(f, "\t\t\t\t%08X     1 0:00000000\t\t0\n", 0xef000000+i)
	}
	m = members{fd: int(f.Fd())}
	if !m.beside(membership{ip4("239.1.2.3"), 2}, 0, time.Now()) {
		t.Error("in a file that is too long: nobody")
	}
	if n := len(m.users); n > maxMemberships {
		t.Errorf("%d memberships", n)
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte("2\teth0      :     1      V3\n"))
	f.Add([]byte("\t\t\t\t010000E0     1 0:00000000\t\t0\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		deviceLine(line)
		groupLine(line)
	})
}
