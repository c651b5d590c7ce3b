package bench

import "github.com/outband/outband/cmd/outband/internal/peers"

// A conn is one end of a round-trip measurement: connected, port 7777 on both
// ends. Recv waits in the contender's own way, and passes over errors that only
// mean that the other end was not up.
type conn interface {
	Send(p []byte) (int, error)
	Recv(p []byte) (int, error)
	Close() error
}

// floor is the contender to which all are compared: the first to run.
const floor = "ring"

// rttContenders in the order in which they run and are printed. Package net is
// not pinned, as its users' programs are not.
var rttContenders = []contender[conn]{
	{name: floor, near: openRing, far: openRing, kernelNear: true, kernelFar: true, pinned: true},
	{name: "outband-spin", near: openOutbandSpin, far: openOutbandSpin, pinned: true, spin: "always"},
	{name: "outband-shared", near: openOutbandShared, far: openOutbandShared, kernelNear: true, kernelFar: true, pinned: true, spin: "always"},
	{name: "outband-gonet", near: openOutbandGonet, far: openOutbandGonet, pinned: true, spin: "always"},
	{name: "outband-qdisc", near: openOutbandQdisc, far: openOutbandQdisc, pinned: true, spin: "always"},
	{name: "outband-default", near: openOutbandDefault, far: openOutbandDefault, pinned: true, spin: "default"},
	{name: "outband-block", near: openOutbandBlock, far: openOutbandBlock, pinned: true, spin: "never"},
	{name: "outband-half", near: openKernelSpin, far: openOutbandSpin, kernelNear: true, pinned: true, spin: "always"},
	{name: "kernel-spin", near: openKernelSpin, far: openKernelSpin, kernelNear: true, kernelFar: true, pinned: true},
	{name: "kernel-block", near: openKernelBlock, far: openKernelBlock, kernelNear: true, kernelFar: true, pinned: true},
	{name: "go-net", near: openGoNet, far: openGoNet, kernelNear: true, kernelFar: true},
}

// RTTContenders returns the names of all contenders of the round-trip bench.
func RTTContenders() []string { return names(rttContenders) }

func openRing(j EndJob) (conn, error)        { return peers.OpenRing(j.Device) }
func openKernelSpin(j EndJob) (conn, error)  { return peers.OpenKernel(j.local(), j.peer(), true) }
func openKernelBlock(j EndJob) (conn, error) { return peers.OpenKernel(j.local(), j.peer(), false) }
func openGoNet(j EndJob) (conn, error)       { return peers.OpenGoNet(j.local(), j.peer()) }
