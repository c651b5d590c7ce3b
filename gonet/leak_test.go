package gonet

import (
	"runtime"
	"testing"
	"time"

	"github.com/outband/outband/sockapi"
)

// TestForgotten has connections be forgotten that nobody has closed: their sockets are closed
// in the end, as package net's are, and not before, while a call waits.
func TestForgotten(t *testing.T) {
	n := lone(t)
	sockets := func() int { return len(n.host.(*sockapi.API).Stack().Sockets()) }
	for range 10 {
		must[*UDPConn](t)(n.ListenUDP("udp4", nil))
	}
	waits := must[*UDPConn](t)(n.ListenUDP("udp4", localhost))
	to := waits.LocalAddr()
	done := make(chan error)
	go func(c *UDPConn) {
		_, err := c.Read(make([]byte, 10))
		done <- err
	}(waits)
	waits = nil
	for end := soon(); sockets() > 1; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d sockets are left", sockets())
		}
	}
	runtime.GC()
	if _, err := listener(t, n).WriteTo([]byte("x"), to); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
