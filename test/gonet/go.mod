module github.com/outband/outband/test/gonet

go 1.26.3

require (
	github.com/miekg/dns v1.1.73
	github.com/outband/outband v0.0.0
	github.com/quic-go/quic-go v0.65.0
)

require (
	github.com/cilium/ebpf v0.20.0 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	gvisor.dev/gvisor v0.0.0-20260527191743-a81fd9dd382e // indirect
)

replace github.com/outband/outband => ../..
