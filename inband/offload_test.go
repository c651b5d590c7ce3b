package inband

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSegmentsUDP(t *testing.T) {
	near, _ := pair(t)
	fd := -1
	must(t, near.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	if _, err := SegmentsUDP(fd, "none0"); err != unix.ENODEV {
		t.Errorf("no such device: %v", err)
	}
	if _, err := SegmentsUDP(fd, "a-name-too-long-for-a-device"); err != unix.EINVAL {
		t.Errorf("no name: %v", err)
	}
	want := func(want bool) {
		t.Helper()
		if got, err := SegmentsUDP(fd, "near0"); got != want || err != nil {
			t.Errorf("%t, %v; want %t", got, err, want)
		}
	}
	want(true)
	ethtool, err := exec.LookPath("ethtool")
	if err != nil {
		t.Skip("ethtool is not installed")
	}
	for _, name := range []string{featureUSO, "generic-segmentation-offload"} {
		set := func(value string) {
			t.Helper()
			must(t, near.Do(exec.Command(ethtool, "-K", "near0", name, value).Run))
		}
		set("off")
		want(false)
		set("on")
		want(true)
	}
}
