package pcapng_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pcapng"
	"github.com/outband/outband/link/pcapng/replay"
	"github.com/outband/outband/link/pipe"
)

// A link is recorded, and the capture is read back as a link. Instead of memory a program
// has a file, which Wireshark and tcpdump read.
func ExampleWrap() {
	a, b := pipe.New(pipe.Options{})
	defer b.Close()
	var file bytes.Buffer
	recorded, err := pcapng.Wrap(a, &file, pcapng.Options{Comment: "an example"})
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range []int{60, 1514} {
		if err := recorded.Send(make([]byte, n)); err != nil {
			log.Fatal(err)
		}
	}
	if err := recorded.Close(); err != nil { // writes what is buffered
		log.Fatal(err)
	}

	capture, err := replay.Open(&file, replay.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer capture.Close()
	var frames [8]link.Frame
	for !capture.EOF() {
		n := capture.Receive(frames[:])
		for _, f := range frames[:n] {
			fmt.Println(f.WireLen, "bytes")
		}
		capture.Release()
	}
	// Output:
	// 60 bytes
	// 1514 bytes
}
