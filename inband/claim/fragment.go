package claim

import (
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// What becomes of a datagram's fragments is decided by the first of them, which has the
// ports. Each program remembers it, by source, destination, identification and protocol,
// for one second, and no longer than until it has seen the whole datagram, so that
// another one with the same identification is judged by itself.
//
// A fragment that comes before the first one: the ring takes it, for it may be claimed, and
// TCX lets it pass; and so with all the rest of the datagram. Reassembly, the stack's and the
// kernel's, never gets rid of a part but by a time-out, until when it would become part of
// another datagram with the same identification. So it ends at once: the kernel's in the
// holder, whose filter drops the datagram, and the stack's where no socket is.

// A datagram's state: time of its first fragment seen (ns), what becomes of it, the
// bytes of payload seen, all of them if the last fragment was seen, else 0, and a bit for
// each fragment seen, by its place: two at different places may have one bit, and then the
// datagram is not forgotten before its time.
const (
	stateTime    = 0
	stateVerdict = 8
	stateSeen    = 12
	stateAll     = 16
	statePad     = 20
	statePlaces  = 24
)

// places is how many bits there are, a prime: fragments are as long as one another, and have
// as many in a row.
const places = 61

// moment is how long after a first fragment another one is the same once more, and not of
// the next datagram with the same identification: that many are not sent in 10 ms.
const moment = 10_000_000 // ns

// stateEarly as a verdict: the first fragment has not come yet. Others are a result.
const stateEarly = 2

// Marks in the register fragment, above the field.
const (
	markPassed = 1 << 16 // passes because one was early
	markAgain  = 1 << 17 // the second try to remember it
	markMoved  = 1 << 18 // the second look for a claim
	markQuote  = 1 << 19 // what is looked for is a quoted datagram's sender
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
		asm.LoadMem(asm.R3, asm.RFP, stateAt+stateTime, asm.DWord), asm.LoadMem(asm.R2, asm.R0, stateTime, asm.DWord),
		asm.Sub.Reg(asm.R3, asm.R2), asm.JSGT.Imm(asm.R3, second, "replace"), // it may be below 0: by another processor's clock
		asm.LoadMem(asm.R1, asm.R0, stateVerdict, asm.Word), asm.JEq.Imm(asm.R1, stateEarly, "was-early"),
		asm.JSet.Imm(fragment, fragmentOffset, "later"),
		// A first fragment decides anew, unless it is the same once more.
		asm.JNE.Reg(asm.R1, result, "replace"), asm.JSGT.Imm(asm.R3, moment, "replace"))
	b.label("later")
	b.add(asm.Mov.Reg(result, asm.R1), asm.Ja.Label("account"))
	b.label("was-early")
	b.early()
	b.account()
	b.remember()
	b.label("end")
	b.add(asm.JNE.Imm(result, 0, "take"))
	if !b.ring {
		b.add(asm.JSet.Imm(fragment, markPassed, "passed"))
	}
	b.add(asm.Ja.Label("leave"))
}

// early decides for a datagram of which a fragment has come before the first one: all of it
// goes to the ring, and to the kernel.
func (b *builder) early() {
	if b.ring {
		b.add(asm.Mov.Imm(result, 1))
		return
	}
	b.add(asm.Mov.Imm(result, 0), asm.Or.Imm(fragment, markPassed))
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
	b.place(asm.R1, asm.R2)
	b.add(asm.StoreMem(asm.RFP, stateAt+statePlaces, asm.R1, asm.DWord))
}

// place loads the bit that stands for where the fragment is in its datagram.
func (b *builder) place(to, scratch asm.Register) {
	b.add(asm.Mov.Reg(scratch, fragment), asm.And.Imm(scratch, fragmentOffset), asm.Mod.Imm(scratch, places),
		asm.Mov.Imm(to, 1), asm.LSh.Reg(to, scratch))
}

// account counts the fragment's payload in the state at R0, unless one was there already
// (one more that comes twice would end the datagram too early, and its rest would be taken
// for another), and forgets a datagram of which all was seen.
func (b *builder) account() {
	b.label("account")
	b.place(asm.R3, asm.R2)
	b.add(asm.LoadMem(asm.R1, asm.R0, stateSeen, asm.Word), asm.LoadMem(asm.R2, asm.R0, statePlaces, asm.DWord),
		asm.Mov.Reg(asm.R4, asm.R2), asm.And.Reg(asm.R4, asm.R3), asm.JNE.Imm(asm.R4, 0, "seen-before"),
		asm.Or.Reg(asm.R2, asm.R3), asm.StoreMem(asm.R0, statePlaces, asm.R2, asm.DWord),
		asm.Add.Reg(asm.R1, flags), asm.StoreMem(asm.R0, stateSeen, asm.R1, asm.Word))
	b.label("seen-before")
	b.add(asm.JSet.Imm(fragment, moreFragments, "not-last"))
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
	b.early()
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
