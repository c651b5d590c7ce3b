package claim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Counters of a device are in an array, which takes the programs no time: in one of some
// places, by the device's index, that has the index in it.
const (
	counterPlaces = 512
	counterTries  = 4
)

// Places in a device's counters: see Stats.
const (
	counterDropped = 0
	counterPassed  = 8
	counterDevice  = 16
	counterLen     = 24
)

// counterPlace returns one of the places of a device.
func counterPlace(index, try int) uint32 { return uint32(index+try) % counterPlaces }

// countedAt returns where the counters of a device are.
func (m *maps) countedAt(index int) (at uint32, there bool) {
	for try := range counterTries {
		if at = counterPlace(index, try); m.counted[at] == index {
			return at, true
		}
	}
	return 0, false
}

// count makes counters for a device, zeros. ENOBUFS: all of its places are others'.
func (m *maps) count(index int) error {
	at, there := m.countedAt(index)
	for try := 0; !there; try++ {
		if try == counterTries {
			return fmt.Errorf("no room for counters: %w", unix.ENOBUFS)
		}
		at = counterPlace(index, try)
		there = m.counted[at] == 0
	}
	values, err := newCounters()
	if err != nil {
		return err
	}
	for v := range slices.Chunk(values, counterLen) {
		binary.NativeEndian.PutUint32(v[counterDevice:], uint32(index))
	}
	if err := m.counters.Put(binary.NativeEndian.AppendUint32(nil, at), values); err != nil {
		return err
	}
	m.counted[at] = index
	return nil
}

// newCounters returns room for what all processors have counted of a device: counterLen is a
// multiple of 8 bytes.
func newCounters() ([]byte, error) {
	processors, err := ebpf.PossibleCPUs()
	return make([]byte, processors*counterLen), err
}

// uncount gives up a device's counters, which are whoever's is next.
func (m *maps) uncount(index int) {
	if at, there := m.countedAt(index); there {
		m.counted[at] = 0
	}
}

// stats adds up what the processors have counted of a device.
func (m *maps) stats(index int) (s Stats) {
	at, there := m.countedAt(index)
	values, err := newCounters()
	if !there || err != nil || m.counters.Lookup(binary.NativeEndian.AppendUint32(nil, at), values) != nil {
		return s
	}
	for v := range slices.Chunk(values, counterLen) {
		s.Dropped += binary.NativeEndian.Uint64(v[counterDropped:])
		s.Passed += binary.NativeEndian.Uint64(v[counterPassed:])
	}
	return s
}

// counter adds result to a counter of the device, and goes to done.
func (b *builder) counter(at int16, done string) {
	b.add(asm.LoadMem(flags, context, skbDevice, asm.Word))
	for try := range counterTries {
		b.add(asm.Mov.Reg(asm.R1, flags), asm.Add.Imm(asm.R1, int32(try)), asm.And.Imm(asm.R1, counterPlaces-1),
			asm.StoreMem(asm.RFP, deviceAt, asm.R1, asm.Word))
		b.lookup(b.maps.counters.FD(), deviceAt)
		b.add(asm.JEq.Imm(asm.R0, 0, done), asm.LoadMem(asm.R1, asm.R0, counterDevice, asm.Word), asm.JEq.Reg(asm.R1, flags, done+"-counter"))
	}
	b.add(asm.Ja.Label(done))
	b.label(done + "-counter")
	b.add(asm.LoadMem(asm.R1, asm.R0, at, asm.DWord), asm.Add.Reg(asm.R1, result), asm.StoreMem(asm.R0, at, asm.R1, asm.DWord))
}
