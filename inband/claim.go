package inband

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/namespace"
)

// A keeper keeps the kernel's IP layer off datagrams to addresses that are a
// stack's alone. The kernel would look for a route, find that the address is not
// its own, and drop the datagram or, on a host that forwards, send it on and tell
// the sender so by ICMP. A keeper drops them before that, after packet sockets have
// seen them. It goes when the process does: a crash leaves nothing behind.
//
// A keeper looks through a number of priority tags. It drops a frame with more of them
// whatever it is for: no network makes such frames, but a stranger may.
//
// Its methods are for one goroutine at a time.
type keeper interface {
	// Kind names the mechanism: "tcx" or "nft".
	Kind() string
	// Attach puts the claim on a device of its namespace, with that index and name; one
	// that it was on before it leaves.
	Attach(index int, name string) error
	// Set replaces the claimed addresses.
	Set(addresses [][4]byte) error
	// Close gives everything up: the kernel sees the datagrams again.
	Close()
}

// newKeeper makes the best keeper that there is in the calling thread's network
// namespace: a TCX program, or where bpf(2) is not permitted, or the kernel is older
// than 6.6, an nf_tables chain.
func newKeeper() (keeper, error) {
	tcx, err := newTCXClaim()
	if err == nil {
		return tcx, nil
	}
	nft, nftErr := newNFTClaim()
	if nftErr == nil {
		return nft, nil
	}
	return nil, errors.Join(fmt.Errorf("tcx: %w", err), nftErr)
}

// A tcxClaim is a claim by a TCX program at the device's ingress.
type tcxClaim struct {
	addresses *ebpf.Map
	program   *ebpf.Program
	attached  *ebpf.Link
	space     *namespace.Namespace // where the device is
}

// tcxTags is how many tags in a frame a tcxClaim looks through: the verifier wants to see
// an end. A frame of 1500 bytes holds fewer.
const tcxTags = 400

// maxClaimed is how many addresses a tcxClaim holds.
const maxClaimed = 4096

// Verdicts of a TCX program (linux/bpf.h).
const (
	tcxNext = -1 // go on: to the next program, then to the kernel
	tcxDrop = 2
)

// newTCXClaim makes a claim of no addresses in the calling thread's network
// namespace. EPERM: CAP_BPF or CAP_NET_ADMIN is missing, as in every unprivileged
// user namespace; other errors mean a kernel without TCX (before 6.6).
func newTCXClaim() (*tcxClaim, error) {
	here, err := namespace.Current()
	if err != nil {
		return nil, err
	}
	c := &tcxClaim{space: here}
	c.addresses, err = ebpf.NewMap(&ebpf.MapSpec{Name: "outband_claim", Type: ebpf.Hash,
		KeySize: 4, ValueSize: 1, MaxEntries: maxClaimed})
	if err == nil {
		c.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "outband_claim", Type: ebpf.SchedCLS,
			License: "Apache-2.0", Instructions: claimProgram(c.addresses)})
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// claimProgram drops IPv4 datagrams whose destination is in the map. Those of a VLAN are
// another network's; a tag with identifier 0 is only a priority, and the kernel looks
// through any number of them. The outermost is in the metadata, further ones are in the
// frame.
func claimProgram(addresses *ebpf.Map) asm.Instructions {
	const (
		tagPresentOffset  = 20      // of vlan_present in struct __sk_buff
		tagOffset         = 24      // of vlan_tci
		vlanID            = 0x0fff  // of it, the identifier
		typeOffset        = 12      // of the EtherType in a frame, and of a tag behind it
		identifierOffset  = 14      // of the identifier of that tag
		tagLen            = 4       // how much further the next of them is
		destinationOffset = 14 + 16 // of an IPv4 datagram's destination in a frame
	)
	// A load from beyond the frame's end aborts with 0, a pass.
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R7, 0), // bytes of tags
		asm.LoadMem(asm.R2, asm.R6, tagPresentOffset, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "type"),
		asm.LoadMem(asm.R2, asm.R6, tagOffset, asm.Word),
		asm.And.Imm(asm.R2, vlanID),
		asm.JNE.Imm(asm.R2, 0, "next"),
		asm.LoadInd(asm.R7, typeOffset, asm.Half).WithSymbol("type"),
		asm.JEq.Imm(asm.R0, unix.ETH_P_IP, "ipv4"),
		asm.JEq.Imm(asm.R0, unix.ETH_P_8021Q, "tag"),
		asm.JNE.Imm(asm.R0, unix.ETH_P_8021AD, "next"),
		asm.LoadInd(asm.R7, identifierOffset, asm.Half).WithSymbol("tag"),
		asm.And.Imm(asm.R0, vlanID),
		asm.JNE.Imm(asm.R0, 0, "next"),
		asm.Add.Imm(asm.R7, tagLen),
		asm.JLE.Imm(asm.R7, tcxTags*tagLen, "type"),
		asm.Ja.Label("drop"),
		asm.LoadInd(asm.R7, destinationOffset, asm.Word).WithSymbol("ipv4"),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, addresses.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.Mov.Imm(asm.R0, tcxDrop).WithSymbol("drop"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
	}
}

// Kind implements keeper.
func (c *tcxClaim) Kind() string { return "tcx" }

// Attach implements keeper.
func (c *tcxClaim) Attach(ifindex int, _ string) error {
	c.detach()
	// bpf(2) looks for the device in the thread's namespace.
	return c.space.Do(func() error { return c.attach(ifindex) })
}

// attach puts the claim on a device of the calling thread's namespace.
func (c *tcxClaim) attach(ifindex int) (err error) {
	c.attached, err = ebpf.AttachTCX(ifindex, c.program)
	return err
}

// Set implements keeper. E2BIG: more than 4096.
func (c *tcxClaim) Set(addresses [][4]byte) error {
	if len(addresses) > maxClaimed {
		return unix.E2BIG
	}
	want := make(map[uint32]bool, len(addresses)) // as the program has loaded them
	for _, a := range addresses {
		want[binary.BigEndian.Uint32(a[:])] = true
	}
	there, err := c.addresses.Keys()
	if err != nil {
		return err
	}
	for _, key := range there {
		k := binary.NativeEndian.Uint32(key)
		if !want[k] {
			if err := c.addresses.Delete(key); err != nil && err != unix.ENOENT {
				return err
			}
		}
		delete(want, k)
	}
	for k := range want {
		if err := c.addresses.Put(binary.NativeEndian.AppendUint32(nil, k), []byte{1}); err != nil {
			return err
		}
	}
	return nil
}

func (c *tcxClaim) detach() {
	if c.attached != nil {
		c.attached.Close()
		c.attached = nil
	}
}

// Close implements keeper.
func (c *tcxClaim) Close() {
	c.detach()
	if c.program != nil {
		c.program.Close()
	}
	if c.addresses != nil {
		c.addresses.Close()
	}
	c.space.Close()
}
