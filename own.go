package outband

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
)

// openOwn brings up a stack with addresses of its own.
func (h *Host) openOwn(ctx context.Context, c *config) error {
	name := c.devices[0]
	l, err := tpacket.Open(name, c.ring)
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%s: %w", name, unix.ENODEV)
	}
	if err != nil {
		return err
	}
	for _, p := range c.addresses {
		if l.Info().Caps&link.CapLoopback != 0 && p.Addr().IsLoopback() {
			l.Close() // of other addresses and devices the stack knows
			return fmt.Errorf("%s on %s: the kernel has this address, as all hosts have: %w", p.Addr(), name, unix.EADDRINUSE)
		}
	}
	wrapped, err := h.wrapper(c)(l)
	if err != nil {
		l.Close()
		return err
	}
	if h.st, err = stack.New(c.stack); err != nil {
		wrapped.Close()
		return err
	}
	i, err := h.st.AddLink(wrapped, stack.InterfaceConfig{ARP: c.probe.config(l)})
	if err != nil {
		wrapped.Close()
		return err
	}
	return h.configure(ctx, i, c)
}

// wrapper returns what puts around the devices' links what the options ask for, and around
// no others.
func (h *Host) wrapper(c *config) func(link.Link) (link.Link, error) {
	return func(l link.Link) (_ link.Link, err error) {
		if _, device := l.(*tpacket.Link); !device {
			return l, nil
		}
		if c.wrap != nil {
			if l, err = c.wrap(l); err != nil {
				return nil, err
			}
		}
		if c.capture == "" {
			return l, nil
		}
		return h.capture.wrap(l, c)
	}
}

// probing is for how long an address is probed for.
type probing time.Duration

// config returns the configuration with which an address is probed for within the time, by
// three requests as RFC 5227 has them. Where nothing can be asked, since the link is down,
// nothing is.
func (p probing) config(l link.Link) arp.Config {
	c, d := arp.DefaultConfig(), time.Duration(p)
	if d <= 0 || l.Info().State != link.Up {
		return c
	}
	c.Probe, c.ProbeWait, c.ProbeNum = true, time.Millisecond, 3
	c.ProbeMin, c.ProbeMax, c.AnnounceWait = d/4, d/4, d/2
	return c
}

// configure gives the stack its addresses and its route.
func (h *Host) configure(ctx context.Context, i *stack.Interface, c *config) error {
	for _, p := range c.addresses {
		if err := h.address(ctx, i, p, time.Duration(c.probe)); err != nil {
			return err
		}
	}
	if !c.gateway.IsValid() {
		return nil
	}
	onLink := true
	for _, p := range c.addresses {
		onLink = onLink && !p.Contains(c.gateway)
	}
	route := ipv4.Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: c.gateway.As4(), Iface: i.Index(), OnLink: onLink}
	if err := h.st.AddRoute(route); err != nil {
		return fmt.Errorf("gateway %s: %w", c.gateway, err)
	}
	return nil
}

// address gives the stack an address, once it is found that nobody has it.
func (h *Host) address(ctx context.Context, i *stack.Interface, p netip.Prefix, probe time.Duration) error {
	events := h.st.Subscribe(0)
	defer events.Close()
	if err := i.AddAddress(p); err != nil {
		return fmt.Errorf("address %s: %w", p, err)
	}
	// A link that goes down meanwhile has its probes later: then nothing waits for them.
	bounded, cancel := context.WithTimeout(ctx, probe+probeGrace)
	defer cancel()
	err := i.AwaitAddress(bounded, p)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%s: take another one of the same network, or see who has it: %w", refusal(events, p), err)
	}
	return nil
}

// probeGrace is how much longer than its probes an address may take.
const probeGrace = 2 * time.Second

// refusal says why an address is not used.
func refusal(events *stack.Subscription, p netip.Prefix) string {
	for {
		select {
		case e, ok := <-events.C:
			if !ok {
				return p.Addr().String()
			}
			if e.Kind == stack.AddressDuplicate || e.Kind == stack.AddressSuspended {
				return e.String()
			}
		default:
			return p.Addr().String()
		}
	}
}
