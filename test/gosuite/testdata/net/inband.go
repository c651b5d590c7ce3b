package gosuite

import (
	"net"
	"os"
)

type (
	UDPConn      = net.UDPConn
	IPConn       = net.IPConn
	Dialer       = net.Dialer
	ListenConfig = net.ListenConfig
)

var (
	Dial               = net.Dial
	DialUDP            = net.DialUDP
	DialIP             = net.DialIP
	ListenPacket       = net.ListenPacket
	ListenUDP          = net.ListenUDP
	ListenIP           = net.ListenIP
	ListenMulticastUDP = net.ListenMulticastUDP
)

func fileOf(c interface{ File() (*os.File, error) }) (*os.File, error) { return c.File() }
