package bench

import (
	"errors"
	"net/netip"

	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/internal/cpu"
)

// A place is where an end is opened: the device of the namespace in which the
// process runs, and the two addresses.
type place struct {
	Device string       `json:"device"`
	Local  netip.Prefix `json:"local"`
	Peer   netip.Addr   `json:"peer"`
	CPU    int          `json:"cpu"` // to which the measuring thread is pinned; -1: to none
}

// port is used at both ends.
const port = 7777

func (p place) local() netip.AddrPort { return netip.AddrPortFrom(p.Local.Addr(), port) }
func (p place) peer() netip.AddrPort  { return netip.AddrPortFrom(p.Peer, port) }

// pin ties the calling goroutine to the place's CPU, if it has one.
func (p place) pin() error { return cpu.Pin(p.CPU) }

// places returns where the two ends are opened. cpus are theirs, or empty.
func places(w *wire.Wire, cpus []int) (near, far place) {
	near = place{Device: w.Near.Device, Local: w.Near.Addr, Peer: w.Far.Addr.Addr(), CPU: -1}
	far = place{Device: w.Far.Device, Local: w.Far.Addr, Peer: w.Near.Addr.Addr(), CPU: -1}
	if len(cpus) == 2 {
		near.CPU, far.CPU = cpus[0], cpus[1]
	}
	return near, far
}

// wires are the networks of a run, one for each way to spread the kernel's
// addresses over the ends. They are made once: a namespace that goes away keeps
// the kernel busy behind the back of the next measurement.
type wires map[[2]bool]*wire.Wire

// between returns the wire with the kernel's address at the given ends.
func (ws wires) between(kernelNear, kernelFar bool) (*wire.Wire, error) {
	key := [2]bool{kernelNear, kernelFar}
	if w := ws[key]; w != nil {
		return w, nil
	}
	w, err := wire.New(kernelNear, kernelFar)
	if err == nil {
		ws[key] = w
	}
	return w, err
}

// close closes all wires.
func (ws wires) close() error {
	var errs []error
	for _, w := range ws {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}
