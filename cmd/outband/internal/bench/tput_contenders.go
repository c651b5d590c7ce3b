package bench

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// A bulk is one end of a bulk transfer: connected, port 7777 on both ends.
type bulk interface {
	// send sends a batch and returns how many datagrams it was.
	send() (datagrams int, err error)
	// receive waits for at least one datagram, and takes up to a batch.
	// When none comes for a while it returns errIdle.
	receive() (datagrams int, err error)
	Close() error
}

// errIdle means that the transfer is over.
var errIdle = errors.New("nothing more arrives")

// idle is how long a receiver waits for more before it takes the transfer for
// over. The wait does not count: the time runs to the last datagram.
const idle = 300 * time.Millisecond

// bulkBuffer is what the sockets' buffers are asked to hold, in bytes.
const bulkBuffer = 32 << 20

// bulkFloor is the contender to which all are compared: the first to run.
const bulkFloor = "kernel"

// tputContenders in the order in which they run and are printed.
var tputContenders = []contender[bulk]{
	{name: bulkFloor, near: openKernelBulk, far: openKernelBulk, kernelNear: true, kernelFar: true, pinned: true},
	{name: "outband", near: openOutbandBulk, far: openOutbandBulk, pinned: true, spin: "default"},
	{name: "outband-qdisc", near: openOutbandBulkQdisc, far: openOutbandBulkQdisc, pinned: true, spin: "default"},
	{name: "outband-half", near: openOutbandBulk, far: openKernelBulk, kernelFar: true, pinned: true, spin: "default"},
}

// TputContenders returns the names of all contenders of the bulk bench.
func TputContenders() []string { return names(tputContenders) }

// kernelBulk moves datagrams by sendmmsg and recvmmsg on an in-band socket.
type kernelBulk struct {
	*inband.UDP
	batch *inband.Batch
}

func openKernelBulk(j EndJob) (bulk, error) {
	u, err := inband.OpenUDP(j.local())
	if err != nil {
		return nil, err
	}
	err = errors.Join(u.SetBuffers(bulkBuffer), u.SetReadTimeout(idle), u.Connect(j.peer()))
	if err != nil {
		u.Close()
		return nil, err
	}
	room := j.Size
	if j.Server {
		room = maxDatagram
	}
	return &kernelBulk{u, inband.NewBatch(j.Batch, room)}, nil
}

func (k *kernelBulk) send() (int, error) {
	n, err := k.batch.Send(k.UDP)
	if passing(err) {
		err = nil
	}
	return n, err
}

func (k *kernelBulk) receive() (int, error) {
	n, _, err := k.batch.Recv(k.UDP)
	switch {
	case err == unix.EAGAIN:
		err = errIdle
	case passing(err):
		err = nil
	}
	return n, err
}

// passing are the errors after which a bulk transfer goes on: a full queue, a
// signal, an ICMP error from before the other end was up.
func passing(err error) bool {
	return err == unix.ENOBUFS || err == unix.EINTR || err == unix.ECONNREFUSED
}
