package tpacket

import (
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/linktest"
)

func TestConformance(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		mtu  int
	}{
		{"default", Options{}, 1500},
		{"sendto", Options{TxMode: TxSendto, Qdisc: true}, 1500},
		{"sendto", Options{TxMode: TxSendto}, 1500},
		{"jumbo, small slots", Options{SlotSize: 512}, 9000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lb := newLab(t, tt.mtu)
			linktest.Test(t, func() (a, b link.Link) { return lb.near.open(tt.o), lb.far.open(tt.o) })
		})
	}
}
