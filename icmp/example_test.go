package icmp_test

import (
	"fmt"

	"github.com/outband/outband/icmp"
)

// An echo request, and its reply.
func ExampleAppendEchoReply() {
	request, cause := icmp.Parse(icmp.AppendEcho(nil, icmp.Echo, 7, 1, []byte("data")))
	if cause != icmp.CauseNone {
		fmt.Println(cause)
		return
	}
	reply, cause := icmp.Parse(icmp.AppendEchoReply(nil, request))
	fmt.Println(cause == icmp.CauseNone, reply.Type() == icmp.EchoReply, reply.Ident(), reply.Seq())
	// Output: true true 7 1
}

// What an error means to the socket whose datagram it quotes.
func ExampleErrno() {
	errno, hard, ok := icmp.Errno(icmp.DestinationUnreachable, icmp.CodePort)
	fmt.Println(errno, hard, ok)
	// Output: connection refused true true
}
