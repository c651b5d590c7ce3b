package claim

import "github.com/outband/outband/internal/ebpf/asm"

// match says of the key at exactAt whether it is claimed, by its port first: a port of
// no claim costs no lookup. It goes on at verdict, with 1 or 0 in result.
func (b *builder) match() {
	b.label("match")
	b.generation(asm.R1)
	b.add(asm.StoreMem(asm.RFP, moveAt, asm.R1, asm.Word))
	b.half(asm.R2, exactAt+10)
	b.add(asm.LoadMapValue(asm.R1, b.maps.portMap.FD(), 0), asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadMem(flags, asm.R1, 0, asm.Byte), asm.Mov.Imm(result, 0),
		asm.And.Imm(flags, flagsClaimed|flagShared), asm.JEq.Imm(flags, 0, "verdict"),
		asm.StoreImm(asm.RFP, exactAt+12, 0, asm.Word))
	b.classify("match")
	b.add(asm.Or.Reg(flags, asm.R1))
	b.leaveShared()
	b.move(localAt, exactAt+4)
	b.add(asm.StoreImm(asm.RFP, localAt+4, 0, asm.Word), asm.LoadMem(asm.R1, asm.RFP, exactAt+10, asm.Half),
		asm.StoreMem(asm.RFP, localAt+4, asm.R1, asm.Half), asm.StoreImm(asm.RFP, localAt+8, 0, asm.Word))
	b.claims("any")
	b.wild()
	b.add(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, flagDevice), asm.JEq.Imm(asm.R1, 0, "matched"))
	b.add(asm.LoadMem(asm.R1, context, skbDevice, asm.Word))
	if b.ring {
		// What the host sends to itself counts as having come by the device that has the
		// address: the stack finds out which that is, and the kernel has it too.
		b.add(asm.JNE.Imm(asm.R1, loopbackIndex, "bound"), asm.Or.Imm(result, valueClaimed), asm.Ja.Label("matched"))
		b.label("bound")
	}
	b.add(asm.StoreMem(asm.RFP, exactAt+12, asm.R1, asm.Word), asm.StoreMem(asm.RFP, localAt+8, asm.R1, asm.Word))
	b.claims("device")
	b.add(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, addressOwn|addressMany), asm.JEq.Imm(asm.R1, 0, "matched"),
		asm.StoreImm(asm.RFP, localAt, 0, asm.Word))
	b.find(b.maps.local.FD(), localAt, "matched")
	b.label("matched")
	b.moved()
	if !b.ring {
		// What is for every socket, the kernel has too, unless nobody else can have the port.
		b.add(asm.JSet.Imm(flags, addressMany, "many"), asm.Ja.Label("one"))
		b.label("many")
		b.add(asm.RSh.Imm(result, 1)) // valueAlone
		b.label("one")
	}
	b.add(asm.And.Imm(result, valueClaimed))
}

// leaveShared has the kernel decide whose a unicast datagram is, where others may have the
// port too.
func (b *builder) leaveShared() {
	b.add(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, addressMany|flagShared), asm.JEq.Imm(asm.R1, flagShared, "verdict"))
}

// moved looks again, once, for a claim that was not found if meanwhile one has taken
// another's place: it may have been looked for too early, and the other one too late.
func (b *builder) moved() {
	b.add(asm.JNE.Imm(result, 0, "looked"), asm.JSet.Imm(fragment, markMoved, "looked"))
	b.generation(asm.R1)
	b.add(asm.LoadMem(asm.R2, asm.RFP, moveAt, asm.Word), asm.JEq.Reg(asm.R1, asm.R2, "looked"),
		asm.Or.Imm(fragment, markMoved), asm.Ja.Label("match"))
	b.label("looked")
}

// claims looks for a claim of an address, of a connected socket and of another.
func (b *builder) claims(of string) {
	b.add(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, flagExact), asm.JEq.Imm(asm.R1, 0, of+"-local"))
	b.find(b.maps.exact.FD(), exactAt, of+"-local")
	b.label(of + "-local")
	b.between()
	b.add(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, flagLocal), asm.JEq.Imm(asm.R1, 0, of+"-done"))
	b.find(b.maps.local.FD(), localAt, of+"-done")
	b.label(of + "-done")
}

// between is between two lookups, the first time.
func (b *builder) between() {
	if len(b.pause) > 0 {
		b.add(b.pause...)
		b.pause = nil
	}
}

// find adds a claim's value to the result; if there is none it goes to none.
func (b *builder) find(fd int, key int32, none string) {
	b.lookup(fd, key)
	b.add(asm.JEq.Imm(asm.R0, 0, none), asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte), asm.Or.Reg(result, asm.R1))
}

// wild adds a claim of all of the host's addresses. Never by the port alone: on a router
// that would take what is forwarded.
func (b *builder) wild() {
	b.add(asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, addressOwn|addressMany), asm.JEq.Imm(asm.R1, 0, "not-wild"),
		asm.Mov.Reg(asm.R1, flags), asm.And.Imm(asm.R1, flagWild|flagWildAlone), // 1 and 2, as a claim's value
		asm.Or.Reg(result, asm.R1))
	b.label("not-wild")
}

// classify leaves in R1 what the destination of the key at exactAt is.
func (b *builder) classify(of string) {
	b.add(asm.LoadMem(asm.R1, asm.RFP, exactAt+4, asm.Word), asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.JEq.Imm32(asm.R1, -1, of+"-many"), // 255.255.255.255
		asm.RSh.Imm(asm.R1, 28), asm.JEq.Imm(asm.R1, 14, of+"-many"))
	b.lookup(b.maps.addresses.FD(), exactAt+4)
	b.add(asm.JEq.Imm(asm.R0, 0, of+"-unknown"), asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.Ja.Label(of+"-classified"))
	b.label(of + "-unknown") // what is sent over lo is for this host, whatever it is addressed to
	if b.ring {
		// And what a quote names as its sender is whatever a router has made of it.
		b.add(asm.Mov.Imm(asm.R1, addressOwn), asm.JSet.Imm(fragment, markQuote, of+"-classified"))
	}
	b.add(asm.LoadMem(asm.R2, context, skbDevice, asm.Word), asm.Mov.Imm(asm.R1, 0),
		asm.JNE.Imm(asm.R2, loopbackIndex, of+"-classified"), asm.Mov.Imm(asm.R1, addressOwn), asm.Ja.Label(of+"-classified"))
	b.label(of + "-many")
	b.add(asm.Mov.Imm(asm.R1, addressMany))
	b.label(of + "-classified")
}
