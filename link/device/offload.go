package device

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offloads that a device's settings name, as ethtool(8) -k prints them.
const (
	featureGSO = "tx-generic-segmentation"
	featureUSO = "tx-udp-segmentation"

	stringsFeatures = 4 // ETH_SS_FEATURES of linux/ethtool.h
)

// SegmentsUDP reports whether the device of that name is set to cut UDP GSO packets:
// both generic-segmentation-offload and tx-udp-segmentation are on (ethtool(8), -k). fd
// is any socket in the device's network namespace. No privilege is needed. ENODEV: no
// such device; EOPNOTSUPP: the kernel does not say.
func SegmentsUDP(fd int, device string) (bool, error) {
	at, err := featuresOfKernel(fd, device)
	if err != nil {
		return false, err
	}
	blocks := make([]uint32, 2+at.count*4) // struct ethtool_gfeatures
	blocks[0], blocks[1] = unix.ETHTOOL_GFEATURES, uint32(at.count)
	if err := ethtool(fd, device, unsafe.Pointer(&blocks[0])); err != nil {
		return false, err
	}
	on := func(bit int) bool {
		const active = 2 // of available, requested, active, never_changed
		return bit >= 0 && blocks[2+bit/32*4+active]>>(bit%32)&1 != 0
	}
	return on(at.gso) && on(at.uso), nil
}

// featureBits says where the kernel has the features that we ask for: they have names,
// and no fixed numbers. -1: it has none of the name.
type featureBits struct {
	count    int // of blocks of 32
	gso, uso int
}

var (
	featuresMu sync.Mutex
	features   *featureBits // nil: not asked yet
)

// featuresOfKernel asks once a process. Any device will do.
func featuresOfKernel(fd int, device string) (*featureBits, error) {
	featuresMu.Lock()
	defer featuresMu.Unlock()
	if features != nil {
		return features, nil
	}
	names, err := featureNames(fd, device)
	if err != nil {
		return nil, err
	}
	f := &featureBits{count: (len(names) + 31) / 32, gso: -1, uso: -1}
	for i, name := range names {
		switch name {
		case featureGSO:
			f.gso = i
		case featureUSO:
			f.uso = i
		}
	}
	features = f
	return f, nil
}

// featureNames returns the names of all features, by number (ETH_SS_FEATURES).
func featureNames(fd int, device string) ([]string, error) {
	count := struct { // struct ethtool_sset_info with one set
		cmd, reserved uint32
		mask          uint64
		n             uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << stringsFeatures}
	if err := ethtool(fd, device, unsafe.Pointer(&count)); err != nil {
		return nil, err
	}
	const nameLen = 32                       // ETH_GSTRING_LEN
	b := make([]uint32, 3+count.n*nameLen/4) // struct ethtool_gstrings
	b[0], b[1], b[2] = unix.ETHTOOL_GSTRINGS, stringsFeatures, count.n
	if err := ethtool(fd, device, unsafe.Pointer(&b[0])); err != nil {
		return nil, err
	}
	text := unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b)*4)[12:]
	names := make([]string, min(count.n, b[2]))
	for i := range names {
		names[i] = unix.ByteSliceToString(text[i*nameLen : (i+1)*nameLen])
	}
	return names, nil
}

// ethtool makes a request of the ethtool ioctl (linux/ethtool.h), which begins with its
// command. EINVAL: device is too long to be a name.
func ethtool(fd int, device string, request unsafe.Pointer) error {
	var ifr struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	if len(device) >= len(ifr.name) {
		return unix.EINVAL
	}
	copy(ifr.name[:], device)
	ifr.data = request
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	runtime.KeepAlive(request)
	if errno != 0 {
		return errno
	}
	return nil
}
