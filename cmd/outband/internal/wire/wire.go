// Package wire makes what demo and bench run on: two network namespaces joined
// by a veth pair, near0 and far0, which vanish when they are closed, or at the
// latest with the process.
package wire

import (
	"errors"
	"net/netip"
	"os/exec"

	"github.com/outband/outband/internal/netlab"
)

// The names of the two devices.
const (
	NearDevice = "near0"
	FarDevice  = "far0"
)

// The hardware addresses of the two devices: locally administered, and the IPv4
// address in the last octets.
var (
	NearMAC = [6]byte{2, 0, 10, 9, 0, 1}
	FarMAC  = [6]byte{2, 0, 10, 9, 0, 2}
)

// The addresses of the two ends, whoever has them.
var (
	NearAddr = netip.MustParsePrefix("10.9.0.1/24")
	FarAddr  = netip.MustParsePrefix("10.9.0.2/24")
)

// A Wire is a veth pair between two namespaces.
type Wire struct {
	Near, Far *End
}

// An End is one namespace and its device.
type End struct {
	*netlab.Namespace
	Device string
	Addr   netip.Prefix
	Kernel bool // whether the kernel has Addr on the device
}

// New makes a wire. kernelNear and kernelFar say at which ends the kernel has
// the address; elsewhere it is left to a stack of ours.
func New(kernelNear, kernelFar bool) (*Wire, error) {
	near, err := netlab.NewNamespace()
	if err != nil {
		return nil, err
	}
	far, err := netlab.NewNamespace()
	if err != nil {
		near.Close()
		return nil, err
	}
	w := &Wire{
		Near: &End{Namespace: near, Device: NearDevice, Addr: NearAddr, Kernel: kernelNear},
		Far:  &End{Namespace: far, Device: FarDevice, Addr: FarAddr, Kernel: kernelFar},
	}
	err = near.AddVeth(netlab.Veth{Name: NearDevice, PeerName: FarDevice, Peer: far, MAC: NearMAC, PeerMAC: FarMAC})
	if err := errors.Join(err, w.Near.up(), w.Far.up()); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close gives both namespaces up; they end with the last process or socket in
// them, and the devices with them.
func (w *Wire) Close() error { return errors.Join(w.Near.Close(), w.Far.Close()) }

func (e *End) up() error {
	if e.Kernel {
		if err := e.AddAddress(e.Device, e.Addr); err != nil {
			return err
		}
	}
	return errors.Join(e.SetUp("lo"), e.SetUp(e.Device))
}

// Start starts a process in the end's namespace.
func (e *End) Start(cmd *exec.Cmd) error { return e.Do(cmd.Start) }
