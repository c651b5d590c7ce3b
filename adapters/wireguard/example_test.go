package wireguard_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/netip"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/outband/outband"
	"github.com/outband/outband/adapters/wireguard"
)

// A program that asks by HTTP through a tunnel: TCP is netstack's, UDP is ours, and the kernel's
// IP layer sees neither.
func ExampleNewBind() {
	h, err := outband.Open(context.Background(), "eth1")
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	tun, inside, err := netstack.CreateNetTUN([]netip.Addr{netip.MustParseAddr("192.168.4.2")}, nil, 1420)
	if err != nil {
		log.Fatal(err)
	}
	dev := device.NewDevice(tun, wireguard.NewBind(h), device.NewLogger(device.LogLevelError, "wg: "))
	defer dev.Close()
	if err := dev.IpcSet(`private_key=...
public_key=...
endpoint=192.0.2.1:51820
allowed_ip=0.0.0.0/0
`); err != nil {
		log.Fatal(err)
	}
	if err := dev.Up(); err != nil {
		log.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: inside.DialContext}}
	r, err := client.Get("http://192.168.4.1/")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Status)
}
