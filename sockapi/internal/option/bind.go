package option

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ipLocalPortRange is IP_LOCAL_PORT_RANGE (linux/in.h, Linux 6.3).
const ipLocalPortRange = 51

// bindOptions are those that say where a socket is: addresses, ports, devices and
// groups.
var bindOptions = map[optionKey]option{
	{unix.SOL_IP, unix.IP_FREEBIND}: atLeast(1, boolean(
		func(s *State) bool { return s.IP.Binding().FreeBind() },
		func(s *State, on bool) { s.IP.Binding().SetFreeBind(on) })),
	{unix.SOL_IP, unix.IP_TRANSPARENT}: atLeast(1, boolean(
		func(s *State) bool { return s.IP.Binding().Transparent() },
		func(s *State, on bool) { s.IP.Binding().SetTransparent(on) })),
	{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT}: boolean(
		func(s *State) bool { return s.IP.Binding().NoPort() },
		func(s *State, on bool) { s.IP.Binding().SetNoPort(on) }),
	{unix.SOL_IP, unix.IP_UNICAST_IF}: {size: 4, exact: true,
		get: func(s *State, b []byte) error {
			binary.BigEndian.PutUint32(b, uint32(s.IP.UnicastInterface()))
			return nil
		},
		set: func(s *State, b []byte) error {
			return s.IP.SetUnicastInterface(int(int32(binary.BigEndian.Uint32(b))))
		}},
	{unix.SOL_IP, ipLocalPortRange}: exactly(integer(
		func(s *State) int { return int(int32(s.IP.Binding().PortRange())) },
		func(s *State, v int) error { return s.IP.Binding().SetPortRange(uint32(v)) })),
	{unix.SOL_SOCKET, unix.SO_BINDTODEVICE}: {variable: true, getN: boundDevice, set: bindToDevice},
	{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX}: integer(
		func(s *State) int { return s.K.Device() },
		func(s *State, v int) error {
			if v < 0 {
				return unix.EINVAL
			}
			return s.K.SetDevice(v)
		}),
	{unix.SOL_SOCKET, unix.SO_INCOMING_CPU}: integer(
		func(s *State) int { return int(s.K.IncomingCPU()) },
		func(s *State, v int) error { s.K.SetIncomingCPU(int32(v)); return nil }),
	{unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF}: {variable: true, set: refuseProgram},
	{unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF}: {set: func(s *State, _ []byte) error {
		if s.Ports == nil {
			return unix.EINVAL
		}
		return s.Ports.DetachReusePort()
	}},
}

// atLeast makes an option need n bytes, exactly all of its size.
func atLeast(n int, o option) option { o.least = n; return o }

func exactly(o option) option { o.exact = true; return o }

// boundDevice is SO_BINDTODEVICE: the name of the socket's device. ENODEV: there is
// none of that index, or not any more.
func boundDevice(s *State, b []byte) (int, error) {
	index := s.K.Device()
	if index == 0 {
		return 0, nil
	}
	if len(b) < unix.IFNAMSIZ {
		return 0, unix.EINVAL
	}
	i := s.Stack.InterfaceByIndex(index)
	if i == nil {
		return 0, unix.ENODEV
	}
	return copy(b, i.Name()+"\x00"), nil
}

func bindToDevice(s *State, b []byte) error {
	name, _, _ := bytes.Cut(b[:min(len(b), unix.IFNAMSIZ-1)], []byte{0})
	if len(name) == 0 {
		return s.K.SetDevice(0)
	}
	i := s.Stack.InterfaceByName(string(name))
	if i == nil {
		return unix.ENODEV
	}
	return s.K.SetDevice(i.Index())
}
