package inband

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CapabilityName returns a capability's name as capabilities(7) writes it.
func CapabilityName(capability int) string {
	switch capability {
	case unix.CAP_NET_ADMIN:
		return "CAP_NET_ADMIN"
	case unix.CAP_NET_RAW:
		return "CAP_NET_RAW"
	case unix.CAP_SYS_ADMIN:
		return "CAP_SYS_ADMIN"
	case unix.CAP_BPF:
		return "CAP_BPF"
	}
	return fmt.Sprintf("capability %d", capability)
}

// HasCapability reports whether the calling thread has capabilities (unix.CAP_NET_RAW,
// ...) in effect, all of them, in its own user namespace.
func HasCapability(capabilities ...int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 has two words of 32 capabilities
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range capabilities {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}
