package device

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// numbered returns one of many groups.
func numbered(i int) link.MAC { return link.MAC{3, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)} }

var everyGroup = Frames{Kind: AllGroups}

// filtered returns how many groups the device was asked to filter, and whether it lets in
// all of them.
func (f *fake) filtered() (n int, all bool) {
	for what := range f.let {
		if what.Kind == Group {
			n++
		}
	}
	return n, f.let[everyGroup] > 0
}

func (f *fake) wantFiltered(t *testing.T, what string, want int, wantAll bool) {
	t.Helper()
	if n, all := f.filtered(); n != want || all != wantAll {
		t.Errorf("%s: %d groups filtered, all let in: %t; want %d, %t", what, n, all, want, wantAll)
	}
}

func TestGroupsAreCounted(t *testing.T) {
	f := memory()
	group, other := numbered(1), numbered(2)
	for _, mac := range []link.MAC{group, group, other} {
		must(t, f.dev.JoinGroup(mac))
	}
	if f.let[Frames{Group, group}] != 1 || f.let[Frames{Group, other}] != 1 {
		t.Errorf("joined: %v", f.let)
	}
	must(t, f.dev.LeaveGroup(group))
	if f.let[Frames{Group, group}] != 1 {
		t.Error("left once of two: it is shut")
	}
	must(t, f.dev.LeaveGroup(group))
	f.wantFiltered(t, "left twice", 1, false)
	if err := f.dev.LeaveGroup(group); err != unix.EADDRNOTAVAIL {
		t.Errorf("left three times: %v", err)
	}
	if err := f.dev.JoinGroup(link.MAC{2}); err != unix.EINVAL {
		t.Errorf("no group: %v", err)
	}
}

func TestGroupsHaveALimit(t *testing.T) {
	f := memory()
	for i := range maxGroups {
		must(t, f.dev.JoinGroup(numbered(i)))
	}
	if err := f.dev.JoinGroup(numbered(maxGroups)); err != unix.ENOBUFS {
		t.Errorf("one more: %v", err)
	}
	must(t, f.dev.JoinGroup(numbered(0))) // which is joined
}

// TestManyGroups joins more groups than the device filters, and leaves them: a group at
// either limit does not turn the filter on and off.
func TestManyGroups(t *testing.T) {
	f := memory()
	for i := range filterGroups {
		must(t, f.dev.JoinGroup(numbered(i)))
	}
	f.wantFiltered(t, "at the limit", filterGroups, false)
	must(t, f.dev.JoinGroup(numbered(filterGroups)))
	f.wantFiltered(t, "beyond it", filterGroups, true)
	must(t, f.dev.LeaveGroup(numbered(filterGroups)))
	f.wantFiltered(t, "at the limit again", filterGroups, true)
	for i := filterGroups; i < 2*filterGroups; i++ {
		must(t, f.dev.JoinGroup(numbered(i)))
	}
	f.wantFiltered(t, "far beyond", filterGroups, true)
	if f.let[everyGroup] != 1 {
		t.Errorf("all groups were asked for %d times", f.let[everyGroup])
	}
	for i := range 2*filterGroups - refilterGroups - 1 {
		must(t, f.dev.LeaveGroup(numbered(i)))
	}
	f.wantFiltered(t, "one more than few", 0, true)
	must(t, f.dev.LeaveGroup(numbered(2*filterGroups-refilterGroups-1)))
	f.wantFiltered(t, "few", refilterGroups, false)
	must(t, f.dev.JoinGroup(numbered(0)))
	f.wantFiltered(t, "one more", refilterGroups+1, false)
}

// TestRefilterAsksOnce has a device filter for some groups already.
func TestRefilterAsksOnce(t *testing.T) {
	f := memory()
	for i := range filterGroups + 1 {
		must(t, f.dev.JoinGroup(numbered(i)))
	}
	for i := range filterGroups + 1 - refilterGroups {
		must(t, f.dev.LeaveGroup(numbered(i)))
	}
	f.wantFiltered(t, "few", refilterGroups, false)
	for what, n := range f.let {
		if n != 1 {
			t.Errorf("%v was asked for %d times", what, n)
		}
	}
}

// TestRefilterRefused has a device refuse to filter again: it lets all groups in until
// the next is left.
func TestRefilterRefused(t *testing.T) {
	f := memory()
	for i := range filterGroups + refilterGroups {
		must(t, f.dev.JoinGroup(numbered(i)))
	}
	f.refuseAt[Group] = unix.ENOBUFS
	for i := range filterGroups {
		must(t, f.dev.LeaveGroup(numbered(i)))
	}
	f.wantFiltered(t, "refused", 0, true)
	clear(f.refuseAt)
	must(t, f.dev.LeaveGroup(numbered(filterGroups)))
	f.wantFiltered(t, "one left", refilterGroups-1, false)
}

// TestJoinRefused has a device refuse a group: it is not joined.
func TestJoinRefused(t *testing.T) {
	for _, tt := range []struct {
		kind   Kind
		before int
	}{{Group, 0}, {AllGroups, filterGroups}} {
		f := memory()
		for i := range tt.before {
			must(t, f.dev.JoinGroup(numbered(i)))
		}
		f.refuseAt[tt.kind] = unix.ENOMEM
		if err := f.dev.JoinGroup(numbered(tt.before)); err != unix.ENOMEM {
			t.Errorf("%s: %v", tt.kind, err)
		}
		if err := f.dev.LeaveGroup(numbered(tt.before)); err != unix.EADDRNOTAVAIL {
			t.Errorf("%s: was joined: %v", tt.kind, err)
		}
		clear(f.refuseAt)
		must(t, f.dev.JoinGroup(numbered(tt.before)))
		if n, all := f.filtered(); n+map[bool]int{true: 1}[all] != tt.before+1 {
			t.Errorf("%s: %d filtered, all %t", tt.kind, n, all)
		}
	}
}

// TestGroupOfNoDevice joins and leaves while there is no device, and while it goes.
func TestGroupOfNoDevice(t *testing.T) {
	f := memory()
	must(t, f.dev.JoinGroup(numbered(0)))
	f.held = func() int { return 0 }
	must(t, f.dev.JoinGroup(numbered(1)))
	must(t, f.dev.LeaveGroup(numbered(0)))
	if f.let[Frames{Group, numbered(1)}] != 0 {
		t.Error("a device that is gone was asked")
	}
	f.held = nil
	f.refuseAt[Group] = unix.ENODEV
	must(t, f.dev.JoinGroup(numbered(2)))
	clear(f.refuseAt)
	f.dev.mu.Lock()
	defer f.dev.mu.Unlock()
	must(t, f.dev.takeLocked(2, "near0"))
	want := map[Frames]int{{Group, numbered(1)}: 1, {Group, numbered(2)}: 1}
	if len(f.let) != 2 || f.tookLet != 2 {
		t.Errorf("the next device lets in %v, %d when it was taken, want %v", f.let, f.tookLet, want)
	}
}

func TestEndedDevice(t *testing.T) {
	f := memory()
	told := 0
	f.dev.SetNotify(func() { told++ })
	f.mu.Lock()
	f.dev.EndLocked()
	f.mu.Unlock()
	f.dev.Tell()
	for what, err := range map[string]error{
		"JoinGroup": f.dev.JoinGroup(numbered(0)), "LeaveGroup": f.dev.LeaveGroup(numbered(0)),
		"AddMode": f.dev.AddMode(link.Promiscuous), "DropMode": f.dev.DropMode(link.Promiscuous),
	} {
		if err != unix.ENETDOWN {
			t.Errorf("%s: %v", what, err)
		}
	}
	f.index = 0
	f.dev.CheckHeld()
	f.dev.Refresh()
	if i := f.dev.Info(); i.State != link.Gone || i.Index != 0 || told != 1 {
		t.Errorf("%+v, told %d times", i, told)
	}
}
