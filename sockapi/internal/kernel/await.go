package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap is the pause of an Await that would not wait, since the socket's error queue
// has something that is not received.
const nap = time.Millisecond

// Await waits until one of the events holds, for d at most.
func (k *Socket) Await(events int16, d time.Duration) {
	if !k.Acquire() {
		return
	}
	defer k.Release()
	set := [1]unix.PollFd{{Fd: int32(k.fd), Events: events}}
	ts := unix.NsecToTimespec(int64(d))
	n, err := unix.Ppoll(set[:], &ts, nil)
	if err == nil && n > 0 && set[0].Revents&(events|unix.POLLHUP) == 0 {
		time.Sleep(min(d, nap))
	}
}
