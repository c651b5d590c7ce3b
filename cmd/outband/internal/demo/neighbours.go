package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/sockapi"
)

// pollInterval is how often the kernel is asked for its neighbours.
const pollInterval = 2 * time.Millisecond

func (d *demo) neighbours(ctx context.Context) {
	d.step("neighbours", "Neighbours: each end asks by ARP for the other's hardware address")
	theirs, err := d.kernelResolves(ctx)
	d.check(err, "kernel  %s", theirs)
	ours, err := d.weResolve()
	d.check(err, "ours    %s", ours)
}

// kernelResolves has the kernel send something to us, and so ask who we are.
func (d *demo) kernelResolves(ctx context.Context) (string, error) {
	line := fmt.Sprintf("%s dev %s", wire.NearAddr.Addr(), wire.FarDevice)
	s, err := d.kernels(unix.SOCK_DGRAM, 0, 0)
	if err != nil {
		return line, err
	}
	defer s.Close()
	if _, err := s.Sendto(nil, 0, sockapi.Inet4(wire.NearAddr.Addr().As4(), discard)); err != nil {
		return line, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(pollInterval) {
		all, err := d.wire.Far.Neighbours(wire.FarDevice)
		if err != nil {
			return line, err
		}
		if n := find(all); n != nil && n.State == "REACHABLE" {
			return fmt.Sprintf("%s lladdr %s %s", line, mac(n.MAC), n.State), nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return line, errors.New("not resolved")
		}
	}
}

func find(all []netlab.Neighbour) *netlab.Neighbour {
	for i := range all {
		if all[i].Addr == wire.NearAddr.Addr() {
			return &all[i]
		}
	}
	return nil
}

// weResolve asks who the kernel is.
func (d *demo) weResolve() (string, error) {
	line := fmt.Sprintf("%s dev %s", wire.FarAddr.Addr(), wire.NearDevice)
	if err := d.node.Stack.Solicit(wire.FarAddr.Addr(), patience, 0); err != nil {
		return line, err
	}
	for _, n := range d.node.Stack.Neighbours() {
		if n.Addr == wire.FarAddr.Addr().As4() {
			return fmt.Sprintf("%s lladdr %s %s", line, mac(n.MAC), n.State), nil
		}
	}
	return line, errors.New("not in the table")
}

func mac(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}
