package device

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

func TestModesAreCounted(t *testing.T) {
	for m, what := range modeFrames {
		f, m := memory(), link.Mode(m)
		want := func(when string, on bool) {
			t.Helper()
			if f.let[what] != map[bool]int{true: 1}[on] || slices.Contains(f.passes, m) != on {
				t.Errorf("%s, %s: let in %v, passed %v", what.Kind, when, f.let, f.passes)
			}
		}
		want("before", false)
		must(t, f.dev.AddMode(m))
		must(t, f.dev.AddMode(m))
		want("on", true)
		must(t, f.dev.DropMode(m))
		want("dropped once of two", true)
		must(t, f.dev.DropMode(m))
		want("dropped", false)
		if err := f.dev.DropMode(m); err != unix.EADDRNOTAVAIL {
			t.Errorf("%s: dropped once more: %v", what.Kind, err)
		}
	}
	f := memory()
	if err := f.dev.AddMode(link.Modes); err != unix.EINVAL {
		t.Errorf("no such mode: %v", err)
	}
	if err := f.dev.DropMode(link.Modes); err != unix.EINVAL {
		t.Errorf("no such mode dropped: %v", err)
	}
}

// TestModeRefused has the device, or the link, refuse a mode: it is not on, and nothing
// of it stays.
func TestModeRefused(t *testing.T) {
	f := memory()
	f.refuseAt[All] = unix.EPERM
	if err := f.dev.AddMode(link.Promiscuous); err != unix.EPERM || len(f.passes) != 0 {
		t.Errorf("by the device: %v, passes %v", err, f.passes)
	}
	clear(f.refuseAt)
	f.refusePass = unix.ENOMEM
	if err := f.dev.AddMode(link.Promiscuous); err != unix.ENOMEM || len(f.let) != 0 {
		t.Errorf("by the link: %v, lets in %v", err, f.let)
	}
	if err := f.dev.DropMode(link.Promiscuous); err != unix.EADDRNOTAVAIL {
		t.Errorf("it was on: %v", err)
	}
	f.refusePass = nil
	must(t, f.dev.AddMode(link.Promiscuous))
	f.refusePass = unix.ENOMEM
	if err := f.dev.DropMode(link.Promiscuous); err != unix.ENOMEM || len(f.let) != 0 {
		t.Errorf("dropped: %v, lets in %v", err, f.let)
	}
}

// TestNextDeviceIsTold has another device let in what the one before did, and be refused
// if it does not.
func TestNextDeviceIsTold(t *testing.T) {
	all := []Frames{{Kind: All}, {Kind: AllGroups}, {Group, numbered(0)}}
	f := memory()
	must(t, f.dev.AddMode(link.Promiscuous))
	for i := range filterGroups + 1 {
		must(t, f.dev.JoinGroup(numbered(i)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	must(t, f.dev.takeLocked(2, "near0"))
	for _, what := range all {
		if f.let[what] != 1 {
			t.Errorf("the next device was asked for %v %d times", what, f.let[what])
		}
	}
	if n := len(f.let); n != filterGroups+2 || f.tookLet != n {
		t.Errorf("%d kinds of frames, %d when it was taken", n, f.tookLet)
	}
	for _, what := range all {
		clear(f.refuseAt)
		f.refuseAt[what.Kind] = unix.EPERM
		if err := f.dev.takeLocked(3, "near0"); err == nil || err.Error() != what.Kind.String()+": operation not permitted" {
			t.Errorf("%s refused: %v", what.Kind, err)
		}
	}
	if f.name != "near0" {
		t.Errorf("took %q", f.name)
	}
}
