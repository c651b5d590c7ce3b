package outband

import (
	"context"
	"log/slog"
	"net"

	"github.com/outband/outband/stack"
)

// An Event is something that has happened to a device, an address or a neighbour: its Kind,
// stack.LinkDown for one, says which of the other fields have a meaning. String is a line
// for people.
type Event = stack.Event

// Events returns what happens from now on, by a channel in which up to n events wait,
// stack.DefaultEvents if n is 0; its Close, or the Host's, ends it. Events that find no room
// are counted (Lost). To those who ask nothing costs anything.
//
// Of the kernel's host, which [WithFallback] gives, nothing is told.
func (h *Host) Events(n int) *stack.Subscription { return h.st.Subscribe(n) }

// eventRoom is how many events wait for a callback or a logger.
const eventRoom = 1024

// tellEvents has the configuration's callback and logger told of events until the host is closed.
func (h *Host) tellEvents(c *config) {
	if c.events == nil && c.log == nil {
		return
	}
	s := h.Events(eventRoom)
	go func() {
		lost := uint64(0)
		for e := range s.C {
			if now := s.Lost(); now != lost && c.log != nil {
				c.log.Warn("events lost", "event", "lost", "count", now-lost)
				lost = now
			}
			if c.log != nil {
				logEvent(c.log, e)
			}
			if c.events != nil {
				c.events(e)
			}
		}
	}()
}

// logEvent writes an event: what it is as the message, and as the attribute event a name
// that does not change.
func logEvent(l *slog.Logger, e Event) {
	attrs := []slog.Attr{slog.String("event", e.Kind.String()), slog.String("device", e.Name)}
	if e.Addr.IsValid() {
		attrs = append(attrs, slog.String("address", e.Addr.String()))
	}
	if e.MAC != ([6]byte{}) {
		attrs = append(attrs, slog.String("mac", net.HardwareAddr(e.MAC[:]).String()))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	l.LogAttrs(context.Background(), eventLevel(e.Kind), e.String(), attrs...)
}

// eventLevel returns how much an event matters.
func eventLevel(k stack.EventKind) slog.Level {
	switch k {
	case stack.NeighbourUp, stack.NeighbourFailed:
		return slog.LevelDebug // of big networks there are many
	case stack.LinkUp, stack.AddressReady, stack.AddressResumed, stack.AddressRemoved:
		return slog.LevelInfo
	case stack.AddressDuplicate:
		return slog.LevelError // it is not used
	}
	return slog.LevelWarn
}
