// Command inband echoes datagrams by package net.
package main

import (
	"log"
	"net"
)

func main() {
	c, err := net.ListenPacket("udp", ":7777")
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
