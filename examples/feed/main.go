// Feed sends and receives market data as exchanges do: the same sequence of
// messages on two multicast groups, A and B, in MoldUDP64 packets.
//
//	feed receive --dev near0 --addr 10.9.0.1/24
//	feed publish --dev far0 --addr 10.9.0.2/24 --addr-b 10.9.0.3/24 --loss-a 0.01 --loss-b 0.01
//
// The receiver delivers each message once and in order, from whichever side it
// comes first (package arbiter), asks a server again for what neither side brought
// (--requests), and reports what is lost, what each side lost, and how much earlier
// its messages came.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Fatal(err)
	}
}

const usage = "usage: feed publish|receive --dev DEVICE ... (--dev: network device; feed publish --help tells all)"

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "publish":
			return publish(ctx, args[1:], out)
		case "receive":
			return receive(ctx, args[1:], out)
		case "help", "-h", "--help":
			fmt.Fprintln(out, usage)
			return nil
		}
	}
	return errors.New(usage)
}
