package device

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSegmentsUDP(t *testing.T) {
	near, _ := newPair(t)
	fd := -1
	must(t, near.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	refused := func() {
		t.Helper()
		for name, want := range map[string]error{"none0": unix.ENODEV, "a-name-too-long-for-a-device": unix.EINVAL, "fifteen-letters": unix.ENODEV,
			"sixteen--letters": unix.EINVAL} {
			if on, err := SegmentsUDP(fd, name); on || err != want {
				t.Errorf("%s: %t, %v, want %v", name, on, err, want)
			}
		}
	}
	refused()
	want := func(want bool) {
		t.Helper()
		if got, err := SegmentsUDP(fd, "near0"); got != want || err != nil {
			t.Errorf("%t, %v; want %t", got, err, want)
		}
	}
	want(true)
	refused() // what the kernel has is known by now
	asked := features
	want(true)
	if features != asked {
		t.Error("what the kernel has was asked for again")
	}
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
