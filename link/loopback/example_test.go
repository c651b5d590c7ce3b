package loopback_test

import (
	"fmt"
	"log"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/loopback"
)

// What is sent is received again.
func ExampleNew() {
	lo := loopback.New(loopback.Options{})
	defer lo.Close()
	if err := lo.Send(make([]byte, 60)); err != nil {
		log.Fatal(err)
	}
	var frames [1]link.Frame
	fmt.Println(lo.Receive(frames[:]), "frame,", len(frames[0].Data), "bytes")
	lo.Release()
	// Output: 1 frame, 60 bytes
}
