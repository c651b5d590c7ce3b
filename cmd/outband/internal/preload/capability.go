package preload

import (
	"os"

	"golang.org/x/sys/unix"
)

// handedOn are the capabilities that a stack uses: see README, "Privileges".
var handedOn = []int{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_BPF}

// HandOnCapabilities makes those capabilities that this process has by its file ambient, so that
// the program which it is about to execute has them (capabilities(7)). Root needs no such thing.
// It must be called on the thread that executes the program.
func HandOnCapabilities() error {
	if os.Geteuid() == 0 {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	var have []int
	for _, c := range handedOn {
		if data[c/32].Permitted&(1<<(c%32)) != 0 {
			data[c/32].Inheritable |= 1 << (c % 32)
			have = append(have, c)
		}
	}
	if len(have) == 0 {
		return nil
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return err
	}
	for _, c := range have {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return err
		}
	}
	return nil
}
