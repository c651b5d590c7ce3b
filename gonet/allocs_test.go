package gonet

import (
	"net"
	"testing"
)

// TestAllocs is package net's test of that name.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has sync.Pool drop what it is given")
	}
	n := lone(t)
	c := listener(t, n)
	addr := c.LocalAddr()
	ap := addr.(*net.UDPAddr).AddrPort()
	b, oob := make([]byte, 8), make([]byte, 64)
	d := must[*UDPConn](t)(n.DialUDP("udp4", nil, addr.(*net.UDPAddr)))
	defer d.Close()
	for _, tt := range []struct {
		name string
		want float64
		call func() error
	}{
		{"WriteMsgUDPAddrPort, ReadMsgUDPAddrPort", 0, func() error {
			if _, _, err := c.WriteMsgUDPAddrPort(b, nil, ap); err != nil {
				return err
			}
			_, _, _, _, err := c.ReadMsgUDPAddrPort(b, oob)
			return err
		}},
		{"WriteToUDPAddrPort, ReadFromUDPAddrPort", 0, func() error {
			if _, err := c.WriteToUDPAddrPort(b, ap); err != nil {
				return err
			}
			_, _, err := c.ReadFromUDPAddrPort(b)
			return err
		}},
		{"Write, Read", 0, func() error {
			if _, err := d.Write(b); err != nil {
				return err
			}
			_, err := c.Read(b)
			return err
		}},
		{"WriteTo, ReadFromUDP", 1, func() error {
			if _, err := c.WriteTo(b, addr); err != nil {
				return err
			}
			_, _, err := c.ReadFromUDP(b)
			return err
		}},
		{"WriteTo, ReadFrom", 1, func() error {
			if _, err := c.WriteTo(b, addr); err != nil {
				return err
			}
			_, _, err := c.ReadFrom(b)
			return err
		}},
		{"SetReadDeadline", 0, func() error { return c.SetReadDeadline(soon()) }},
	} {
		var err error
		if got := testing.AllocsPerRun(1000, func() {
			if e := tt.call(); e != nil {
				err = e
			}
		}); got != tt.want || err != nil {
			t.Errorf("%s: %v allocations, want %v; %v", tt.name, got, tt.want, err)
		}
	}
}
