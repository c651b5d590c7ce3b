package pipe_test

import (
	"fmt"
	"log"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
)

// What one end sends, the other receives.
func ExampleNew() {
	a, b := pipe.New(pipe.Options{})
	defer a.Close()
	defer b.Close()
	broadcast := link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	mac := a.Info().HardwareAddr
	frame := append(append(broadcast[:], mac[:]...), 0x88, 0xb5, 'h', 'i')
	if err := a.Send(frame); err != nil {
		log.Fatal(err)
	}
	var frames [8]link.Frame
	n := b.Receive(frames[:])
	for _, f := range frames[:n] {
		fmt.Printf("%d bytes, the last two %q\n", f.WireLen, f.Data[link.HeaderLen:])
	}
	b.Release() // the views are not ours any more
	// Output: 16 bytes, the last two "hi"
}
