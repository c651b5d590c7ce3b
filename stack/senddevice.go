package stack

import "sync/atomic"

// sendDevices remembers by which two devices a socket looked up its routes lately,
// 0 for by none in particular: a path MTU that it is told of is that of the path
// which it took, whether SO_BINDTODEVICE, IP_UNICAST_IF or a datagram's IP_PKTINFO
// has chosen it.
type sendDevices struct {
	// pair has the latest in its lower half, another one before it in its upper
	// half, each one more than the index, and 0 if there was none.
	pair atomic.Uint64
}

// add notes a device.
func (d *sendDevices) add(device int32) {
	v := uint64(uint32(device)) + 1
	for {
		old := d.pair.Load()
		if old&0xffffffff == v || d.pair.CompareAndSwap(old, old<<32|v) {
			return
		}
	}
}

// latest returns the devices, the latest first.
func (d *sendDevices) latest() []int32 {
	pair := d.pair.Load()
	var both [2]int32
	n := 0
	for ; pair != 0; pair >>= 32 {
		both[n] = int32(uint32(pair) - 1)
		n++
	}
	return both[:n]
}
