package inband

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tag is a VLAN tag.
func tag(tpid, tci uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), tci)
}

// tagText writes tags for people.
func tagText(tags [][]byte) string {
	if len(tags) == 0 || len(tags) > 4 {
		return fmt.Sprint(len(tags), " tags")
	}
	words := make([]string, len(tags))
	for i, t := range tags {
		words[i] = fmt.Sprintf("%x:%d", t[:2], binary.BigEndian.Uint16(t[2:])&0xfff)
	}
	return strings.Join(words, " ")
}

// tagStacks are tags that are only priorities, and such with one of a VLAN among them.
func tagStacks() (priorities, vlans [][][]byte) {
	tpids := []uint16{unix.ETH_P_8021Q, unix.ETH_P_8021AD}
	level := [][][]byte{nil}
	for n := range 3 {
		var next [][][]byte
		for _, outer := range level {
			for _, tpid := range tpids {
				next = append(next, append(slices.Clone(outer), tag(tpid, uint16(n)<<13)))
				vlans = append(vlans, append(slices.Clone(outer), tag(tpid, 5)), append(slices.Clone(outer), tag(tpid, 5), tag(tpid, 0)))
			}
		}
		priorities, level = append(priorities, next...), next
	}
	return priorities, vlans
}

// unwanted returns how many frames eth0 got that the kernel had no use for, as it has
// none for those of VLANs that it has not: for another host, or of no protocol.
func (lb *guestLab) unwanted() uint64 {
	lb.t.Helper()
	const dropped, other = 6 * 8, 24 * 8 // rx_dropped and rx_otherhost_dropped in struct rtnl_link_stats64
	d, err := lb.host.Device("eth0")
	must(lb.t, err)
	var count uint64
	must(lb.t, lb.host.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(d.Index)
		req.AddData(msg)
		answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
		if err != nil || len(answers) == 0 {
			return fmt.Errorf("link of eth0: %w", err)
		}
		attrs, _ := nl.ParseRouteAttr(answers[0][unix.SizeofIfInfomsg:])
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_STATS64 && len(a.Value) >= other+8 {
				count = binary.NativeEndian.Uint64(a.Value[dropped:]) + binary.NativeEndian.Uint64(a.Value[other:])
				return nil
			}
		}
		lb.t.Skip("this kernel does not count frames for other hosts (before 5.19)")
		return err
	}))
	return count
}

// pusher has peer0 put a tag before each frame that it sends, which crosses the wire as
// metadata, until the test is over. set says which one; nil: none.
func (lb *guestLab) pusher() (set func(tag []byte)) {
	lb.t.Helper()
	peer, err := lb.peer.Device("peer0")
	must(lb.t, err)
	values, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(lb.t, err)
	lb.t.Cleanup(func() { values.Close() })
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, values.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R2, asm.R0, 0, asm.Word), // the TPID in network order; 0: no tag
		asm.JEq.Imm(asm.R2, 0, "out"),
		asm.LoadMem(asm.R3, asm.R0, 4, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("out"),
		asm.Return(),
	}})
	must(lb.t, err)
	lb.t.Cleanup(func() { program.Close() })
	must(lb.t, lb.peer.Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: peer.Index, Program: program, Attach: ebpf.AttachTCXEgress})
		if err == nil {
			lb.t.Cleanup(func() { l.Close() })
		}
		return err
	}))
	return func(tag []byte) {
		lb.t.Helper()
		value := make([]byte, 8)
		if tag != nil {
			copy(value, tag[:2])
			binary.NativeEndian.PutUint32(value[4:], uint32(binary.BigEndian.Uint16(tag[2:])))
		}
		must(lb.t, values.Put(uint32(0), value))
	}
}

// crossed sends a datagram with tags before it, the first as metadata if pushed, and
// returns how many the host's IP layer has seen, and how many it had no use for.
func (lb *guestLab) crossed(push func([]byte), to [4]byte, tags [][]byte, pushed bool) (ip, unwanted uint64) {
	lb.t.Helper()
	ip, unwanted = lb.ipReceived(), lb.unwanted()
	if pushed {
		push(tags[0])
		tags = tags[1:]
	}
	lb.inject(to, tags...)
	push(nil)
	// What comes behind it and is not claimed says that it is through.
	mark := lb.ipReceived()
	lb.inject([4]byte{10, 9, 0, 1})
	for deadline := time.Now().Add(20 * time.Second); lb.ipReceived() == mark; {
		if time.Now().After(deadline) {
			lb.t.Fatal("nothing gets through")
		}
	}
	return lb.ipReceived() - ip - 1, lb.unwanted() - unwanted
}

// TestKeepersAndTags holds each mechanism to the tags before a claimed address: any
// number that are only priorities is looked through, as the kernel does; a VLAN is
// another network.
func TestKeepersAndTags(t *testing.T) {
	forKeepers(t, func(t *testing.T, lb *guestLab, k keeper) {
		defer k.Close()
		must(t, lb.host.SetMTU("eth0", 2000)) // for all those tags
		must(t, lb.peer.SetMTU("peer0", 2000))
		d, err := lb.host.Device("eth0")
		must(t, err)
		must(t, k.Attach(d.Index, "eth0"))
		ours, kernels := [4]byte{10, 9, 0, 2}, [4]byte{10, 9, 0, 1}
		must(t, k.Set([][4]byte{ours}))
		push := lb.pusher()
		check := func(what string, to [4]byte, tags [][]byte, wantIP, wantUnwanted uint64) {
			t.Helper()
			for _, pushed := range []bool{false, true} {
				if pushed && len(tags) == 0 {
					continue
				}
				if ip, unwanted := lb.crossed(push, to, tags, pushed); ip != wantIP || unwanted != wantUnwanted {
					t.Errorf("%s, %s (the first as metadata: %t): %d to the kernel's IP layer, %d unwanted; want %d, %d",
						what, tagText(tags), pushed, ip, unwanted, wantIP, wantUnwanted)
				}
			}
		}
		priorities, vlans := tagStacks()
		for _, deep := range []int{8, nftTags, nftTags + 1, tcxTags, tcxTags + 2} {
			priorities = append(priorities, slices.Repeat([][]byte{tag(unix.ETH_P_8021Q, 0xe000)}, deep))
		}
		for _, tags := range append([][][]byte{nil}, priorities...) {
			check("claimed", ours, tags, 0, 0)
			if len(tags) <= nftTags {
				check("the kernel's own", kernels, tags, 1, 0)
			}
		}
		for _, tags := range vlans {
			check("of a VLAN", ours, tags, 0, 1)
		}
	})
}
