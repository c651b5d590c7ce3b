package outband

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/claim"
)

// An OpenError says why [Open] has failed, and what mends it.
type OpenError struct {
	Device string
	Err    error  // wraps an errno
	Mend   string // a line for a shell or a program, "" if none is known
}

// Error returns both in one line.
func (e *OpenError) Error() string {
	if e.Mend == "" {
		return "open " + e.Device + ": " + e.Err.Error()
	}
	return fmt.Sprintf("open %s: %v; what mends it: %s", e.Device, e.Err, e.Mend)
}

// Unwrap returns Err.
func (e *OpenError) Unwrap() error { return e.Err }

// openError returns err, of opening, with what mends it.
func (c *config) openError(err error) error {
	return &OpenError{Device: c.devices[0], Err: err, Mend: c.mend(err)}
}

// mend returns the line that mends an error of opening.
func (c *config) mend(err error) string {
	own := len(c.addresses) > 0
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return setcap(c.missing())
	case errors.Is(err, unix.ENODEV):
		return "Open one of: " + deviceNames()
	case errors.Is(err, unix.EADDRINUSE) && own:
		return "another address in WithAddress, or none, to share those that the kernel has"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return "sudo modprobe af_packet"
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return "a smaller ring, outband.WithRing(tpacket.Options{Slots: 1024}), or more memory"
	case errors.Is(err, unix.EMFILE):
		return "ulimit -n 65536"
	}
	return ""
}

// missing returns the capabilities that are wanted and that the thread has not.
func (c *config) missing() (missing []int) {
	wanted := []int{unix.CAP_NET_RAW}
	if len(c.addresses) > 0 || c.require >= claim.NFT { // or the host forwards
		wanted = append(wanted, unix.CAP_NET_ADMIN)
	}
	if c.require == claim.TCX {
		wanted = append(wanted, unix.CAP_BPF)
	}
	for _, w := range wanted {
		if !inband.HasCapability(w) {
			missing = append(missing, w)
		}
	}
	return missing
}

// setcap returns the line that gives capabilities to this program for good, "" for none:
// then they are there, and something else forbids it.
func setcap(capabilities []int) string {
	if len(capabilities) == 0 {
		return ""
	}
	names := make([]string, len(capabilities))
	for i, c := range capabilities {
		names[i] = strings.ToLower(inband.CapabilityName(c))
	}
	exe, err := os.Executable()
	if real, e := filepath.EvalSymlinks(exe); err == nil && e == nil {
		exe = real
	}
	build := ""
	if err != nil || strings.HasPrefix(exe, os.TempDir()+"/go-build") { // go run, go test
		exe = "./" + filepath.Base(exe)
		build = "go build -o " + exe + " && "
	}
	return fmt.Sprintf("%ssudo setcap %s+ep %s", build, strings.Join(names, ","), exe)
}

// deviceNames returns the devices of the network namespace that may carry Ethernet.
func deviceNames() string {
	all, err := net.Interfaces()
	if err != nil {
		return "what `ip -br link` shows"
	}
	names := make([]string, 0, len(all))
	for _, i := range all {
		if len(i.HardwareAddr) == 6 || i.Flags&net.FlagLoopback != 0 {
			names = append(names, i.Name)
		}
	}
	return strings.Join(names, ", ")
}
