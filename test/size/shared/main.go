// Command shared echoes datagrams on the host's addresses.
package main

import (
	"context"
	"log"

	"github.com/outband/outband"
)

func main() {
	h, err := outband.Open(context.Background(), "eth1")
	if err != nil {
		log.Fatal(err)
	}
	c, err := h.ListenPacket("udp", ":7777")
	if err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			log.Fatal(err)
		}
		c.WriteTo(b[:n], from)
	}
}
