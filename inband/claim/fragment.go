package claim

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// What becomes of a datagram's fragments is decided by the first of them, which has the
// ports. Each program remembers it, by source, destination, identification and protocol,
// for one second, and no longer than until it has seen the whole datagram, so that
// another one with the same identification is judged by itself.
//
// A fragment that comes before the first one: the ring takes it, for it may be claimed.
// TCX lets it pass, and then all the rest of the datagram as well: the kernel's
// reassembly, which never gets rid of a part but by a time-out, ends at once, in the
// holder, whose filter drops the datagram.

// A datagram's state: time of its first fragment seen (ns), what becomes of it, the
// bytes of payload seen, and all of them if the last fragment was seen, else 0.
const (
	stateTime    = 0
	stateVerdict = 8
	stateSeen    = 12
	stateAll     = 16
	statePad     = 20
)

// stateEarly as a verdict: the first fragment has not come yet. Others are a result.
const stateEarly = 2

// Marks in the register fragment, above the field.
const (
	markPassed = 1 << 16 // passes because one was early
	markAgain  = 1 << 17 // the second try to remember it
	markMoved  = 1 << 18 // the second look for a claim
)

// verdict ends the program for what is no fragment, with what is in result; for a
// fragment it asks, or says, what becomes of the datagram.
func (b *builder) verdict() {
	b.label("verdict")
	b.add(asm.Mov.Reg(asm.R1, fragment), asm.And.Imm(asm.R1, moreFragments|fragmentOffset), asm.JEq.Imm(asm.R1, 0, "end"))
	b.label("fragment")
	b.datagramKey()
	b.label("again")
	b.lookup(b.datagrams(), datagram)
	b.add(asm.JEq.Imm(asm.R0, 0, "new"),
		asm.LoadMem(asm.R1, asm.RFP, stateAt+stateTime, asm.DWord), asm.LoadMem(asm.R2, asm.R0, stateTime, asm.DWord),
		asm.Sub.Reg(asm.R1, asm.R2), asm.JSGT.Imm(asm.R1, second, "replace"), // it may be below 0: by another processor's clock
		asm.LoadMem(asm.R1, asm.R0, stateVerdict, asm.Word), asm.JSet.Imm(fragment, fragmentOffset, "later"),
		asm.JNE.Imm(asm.R1, stateEarly, "replace")) // a first fragment decides anew
	if b.ring {
		b.add(asm.StoreMem(asm.R0, stateVerdict, result, asm.Word), asm.Ja.Label("account"))
	} else {
		b.add(asm.Mov.Imm(result, 0), asm.Or.Imm(fragment, markPassed), asm.Ja.Label("account"))
	}
	b.label("later")
	b.add(asm.Mov.Reg(result, asm.R1))
	if !b.ring {
		b.add(asm.JNE.Imm(asm.R1, stateEarly, "account"), asm.Mov.Imm(result, 0), asm.Or.Imm(fragment, markPassed))
	}
	b.account()
	b.remember()
	b.label("end")
	b.add(asm.JNE.Imm(result, 0, "take"))
	if !b.ring {
		b.add(asm.JSet.Imm(fragment, markPassed, "passed"))
	}
	b.add(asm.Ja.Label("leave"))
}

// datagrams returns the map of fragmented datagrams.
func (b *builder) datagrams() int {
	if b.ring {
		return b.maps.taken.FD()
	}
	return b.maps.dropped.FD()
}

// datagramKey makes the key of the datagram, and what is new of its state: the time, and
// the length of its payload, which is in flags too.
func (b *builder) datagramKey() {
	b.move(datagram, header+12)
	b.move(datagram+4, header+16)
	b.add(asm.LoadMem(asm.R1, asm.RFP, header+4, asm.Half), asm.StoreMem(asm.RFP, datagram+8, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.RFP, header+9, asm.Byte), asm.StoreMem(asm.RFP, datagram+10, asm.R1, asm.Half))
	b.half(flags, header+2)
	b.add(asm.LoadMem(asm.R1, asm.RFP, header, asm.Byte), asm.And.Imm(asm.R1, 15), asm.LSh.Imm(asm.R1, 2),
		asm.Sub.Reg(flags, asm.R1), asm.And.Imm(flags, 0xffff),
		asm.FnKtimeGetNs.Call(), asm.StoreMem(asm.RFP, stateAt+stateTime, asm.R0, asm.DWord),
		asm.StoreMem(asm.RFP, stateAt+stateSeen, flags, asm.Word),
		asm.StoreImm(asm.RFP, stateAt+stateAll, 0, asm.Word), asm.StoreImm(asm.RFP, stateAt+statePad, 0, asm.Word))
}

// account counts the fragment's payload in the state at R0, and forgets a datagram of
// which all was seen.
func (b *builder) account() {
	b.label("account")
	b.add(asm.LoadMem(asm.R1, asm.R0, stateSeen, asm.Word), asm.Add.Reg(asm.R1, flags), asm.StoreMem(asm.R0, stateSeen, asm.R1, asm.Word),
		asm.JSet.Imm(fragment, moreFragments, "not-last"))
	b.end(asm.R2)
	b.add(asm.StoreMem(asm.R0, stateAll, asm.R2, asm.Word))
	b.label("not-last")
	b.add(asm.LoadMem(asm.R2, asm.R0, stateAll, asm.Word), asm.JEq.Imm(asm.R2, 0, "end"), asm.JLT.Reg(asm.R1, asm.R2, "end"))
	b.forget()
	b.add(asm.Ja.Label("end"))
}

// end loads where the fragment's payload ends in the datagram's.
func (b *builder) end(to asm.Register) {
	b.add(asm.Mov.Reg(to, fragment), asm.And.Imm(to, fragmentOffset), asm.LSh.Imm(to, 3), asm.Add.Reg(to, flags))
}

func (b *builder) forget() {
	b.add(asm.LoadMapPtr(asm.R1, b.datagrams()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, datagram), asm.FnMapDeleteElem.Call())
}

// remember keeps the state of a datagram of which nothing is known yet. If another
// processor was faster the fragment is judged again.
func (b *builder) remember() {
	b.label("replace")
	b.forget()
	b.label("new")
	b.add(asm.StoreMem(asm.RFP, stateAt+stateVerdict, result, asm.Word), asm.JSet.Imm(fragment, fragmentOffset, "early"), asm.Ja.Label("keep"))
	b.label("early")
	b.move(exactAt+4, header+16)
	b.classify("early")
	b.add(asm.JEq.Imm(asm.R1, 0, "leave"), // none of this host's
		asm.StoreImm(asm.RFP, stateAt+stateVerdict, stateEarly, asm.Word))
	if b.ring {
		b.add(asm.Mov.Imm(result, 1))
	} else {
		b.add(asm.Mov.Imm(result, 0), asm.Or.Imm(fragment, markPassed))
	}
	b.add(asm.JSet.Imm(fragment, moreFragments, "keep"))
	b.end(asm.R1)
	b.add(asm.StoreMem(asm.RFP, stateAt+stateAll, asm.R1, asm.Word))
	b.label("keep")
	b.add(asm.LoadMapPtr(asm.R1, b.datagrams()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, datagram),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, stateAt), asm.Mov.Imm(asm.R4, unix.BPF_NOEXIST), asm.FnMapUpdateElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"), asm.JSet.Imm(fragment, markAgain, "unknown"),
		asm.Or.Imm(fragment, markAgain), asm.Ja.Label("again"))
	b.label("unknown")
	if !b.ring {
		b.add(asm.Mov.Imm(result, 0)) // the rest will pass
	}
}
