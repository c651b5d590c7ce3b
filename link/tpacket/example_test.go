package tpacket_test

import (
	"fmt"
	"log"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
)

// A ring over a device takes CAP_NET_RAW. A program that receives without a stack
// polls it, and gives each batch of frames back.
func ExampleOpen() {
	l, err := tpacket.Open("eth1", tpacket.Options{Slots: 4096})
	if err != nil {
		log.Fatal(err) // says which capability is missing
	}
	defer l.Close()
	frames := make([]link.Frame, 64)
	for {
		n := l.Receive(frames)
		for _, f := range frames[:n] {
			fmt.Printf("%d bytes at %d ns\n", f.WireLen, f.Time)
		}
		l.Release()
	}
}
