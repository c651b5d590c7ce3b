package host

import "sync/atomic"

// maxDevices is of how many devices it is counted what has come by them in-band.
const maxDevices = 256

// A byDevice counts, by device, what the holders have brought. One goroutine counts, any
// may read.
type byDevice [maxDevices]struct {
	device atomic.Int32 // 0: free
	n      atomic.Uint64
}

// others stands for the devices for which there is no room.
const others = -1

// count counts a datagram that came by a device.
func (b *byDevice) count(device int32) {
	for at := range b {
		e := &b[at]
		has := e.device.Load()
		if has == 0 {
			if has = device; at == maxDevices-1 {
				has = others
			}
			e.device.Store(has)
		}
		if has == device || has == others {
			e.n.Add(1)
			return
		}
	}
}

// HolderIn returns how many datagrams the holders have brought, by the index of the device
// that they came by; those of the devices beyond the first 255 are together under -1.
func (l *Link) HolderIn() map[int32]uint64 {
	all := make(map[int32]uint64)
	for at := range l.rx.by {
		e := &l.rx.by[at]
		if d := e.device.Load(); d != 0 {
			all[d] = e.n.Load()
		}
	}
	return all
}
