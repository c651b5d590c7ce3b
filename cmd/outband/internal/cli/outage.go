package cli

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/node"
)

// An outage is the time in which a command's device is down, or away. Commands that send
// more than one datagram go on after it.
type outage struct {
	a    *app
	said bool // of the present one
}

// lost reports whether a datagram could not leave because there is an outage, and counts
// it. It says so once an outage; for a stack app.tell does. The socket is connected: it
// had a way, so that none now means that the device has gone.
func (o *outage) lost(n *node.Node, to string, err error, sum *transferSummary) bool {
	if !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENODEV) {
		o.said = false
		return false
	}
	sum.NotSent++
	if n.InBand() && !o.said {
		fmt.Fprintf(o.a.err, "outband: %s: %v\n", to, err)
	}
	o.said = true
	return true
}
