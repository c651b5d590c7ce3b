package stack

import (
	"testing"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// assemble returns a program's instructions as filters take them.
func assemble(t testing.TB, program ...bpf.Instruction) []bpf.RawInstruction {
	t.Helper()
	raw, err := bpf.Assemble(program)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestFilterSeesTag has a packet socket's program choose by the tag that the device
// has taken out.
func TestFilterSeesTag(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.far, false, 0) // nothing until it has its filter
	check(t, k.Receiving().SetFilter(assemble(t,
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipFalse: 3},
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x6005, SkipFalse: 1},
		bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0})))
	check(t, k.BindLink(0, unix.ETH_P_ALL))
	for tci, text := range map[uint16]string{0x6005: "tagged", 0x6006: "tagged otherwise", 0: "not tagged"} {
		p.farEnd.Inject(link.Frame{Data: testFrame(ether.Broadcast, link.MAC{2}, testEtherType, text),
			Meta: link.Meta{Type: link.Broadcast, VLAN: tci != 0, VLANTCI: tci, VLANTPID: unix.ETH_P_8021Q}})
	}
	if b, _ := recv(t, k); string(b[link.HeaderLen:]) != "tagged" {
		t.Errorf("received %q", b[link.HeaderLen:])
	}
	nothing(t, k)
}
