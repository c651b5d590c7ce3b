package fault_test

import (
	"fmt"
	"log"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/link/pipe"
)

// A wire that loses a tenth of what is sent: the same tenth in each run, by the seed.
func ExampleWrap() {
	a, b := pipe.New(pipe.Options{})
	bad := fault.Wrap(a, fault.Config{Seed: 1, Tx: fault.Faults{Loss: 0.1}})
	defer bad.Close()
	defer b.Close()
	frame := make([]byte, 64)
	for range 1000 {
		if err := bad.Send(frame); err != nil {
			log.Fatal(err)
		}
	}
	frames := make([]link.Frame, 1024)
	arrived := b.Receive(frames)
	b.Release()
	lost := int(bad.Counters().Tx.Lost)
	fmt.Println(arrived+lost, "sent, about a tenth lost:", lost > 70 && lost < 130)
	// Output: 1000 sent, about a tenth lost: true
}
