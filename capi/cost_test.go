package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// costRounds is how often a loop is measured: the least counts, which others disturb least.
const costRounds = 9

// cost returns what a call costs in nanoseconds.
func cost(count int, call func()) float64 {
	least := time.Duration(1<<63 - 1)
	for range costRounds {
		began := time.Now()
		for range count {
			call()
		}
		least = min(least, time.Since(began))
	}
	return float64(least) / float64(count)
}

// BenchmarkCost has a program in C make calls, and a Go program the same on package sockapi,
// on stacks of their own: what a call costs through C, beyond. The figures of one run can be compared.
func BenchmarkCost(b *testing.B) {
	l := lab.New(b, lab.Config{Kernel: lab.Far})
	program := compile(b, "testdata/cost.c", "-O2")
	sink := l.Far().UDP(b, 9)
	_ = sink
	const count = 100000
	text := lab.Output(b, l.Near().Namespace, program, "near0", l.Near().Prefix().String(), l.Far().Addr.String(), fmt.Sprint(count))
	inC := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		var name string
		var ns float64
		if _, err := fmt.Sscan(line, &name, &ns); err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		inC[name] = ns
	}
	var h *outband.Host
	l.Near().In(b, func() (err error) {
		h, err = outband.Open(context.Background(), "near0", outband.WithAddress(netip.PrefixFrom(l.Near().Addr, lab.Bits)), outband.WithSpin(stack.SpinNever))
		return err
	})
	defer h.Close()
	s, err := h.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Connect(sockapi.Inet4(l.Far().Addr.As4(), 9)); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 64)
	m := sockapi.Msghdr{Iov: [][]byte{p}}
	s.Send(p, 0)
	inGo := map[string]float64{
		"recv":    cost(count, func() { s.Recv(p, unix.MSG_DONTWAIT) }),
		"recvmsg": cost(count, func() { s.Recvmsg(&m, unix.MSG_DONTWAIT) }),
		"send":    cost(count/10, func() { s.Send(p, 0) }),
		"sendmsg": cost(count/10, func() { s.Sendmsg(&m, 0) }),
	}
	b.ReportMetric(inC["nothing"], "crossing-ns")
	for name, ns := range inGo {
		b.ReportMetric(inC[name], name+"-C-ns")
		b.ReportMetric(ns, name+"-Go-ns")
	}
	b.ReportMetric(0, "ns/op")
}
