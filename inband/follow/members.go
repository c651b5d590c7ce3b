package follow

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// members is what /proc/net/igmp says: how many users each group has on each device.
type members struct {
	fd int // of the file, which stays the network namespace's; -1: it cannot be read

	mu    sync.Mutex // guards what follows
	at    time.Time  // when it was looked at, zero: never
	users map[membership]*users
	all   bool // that is all there are
}

type membership struct {
	group  [4]byte
	device int32
}

// users is how many memberships a group has on a device.
type users struct {
	count int
	own   int // as it was last asked about; unasked: never
}

const unasked = -1

const (
	// membersPause is how long what the file said holds.
	membersPause = time.Second
	// maxMemberships is how many memberships of the host's are told apart. If it has more,
	// there are members of all groups.
	maxMemberships = 1 << 16
)

func (m *members) open() {
	fd, err := unix.Open("/proc/thread-self/net/igmp", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	m.fd = fd
}

func (m *members) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fd >= 0 {
		unix.Close(m.fd)
	}
	m.fd, m.at, m.users, m.all = -1, time.Time{}, nil, false
}

// MembersBeside reports whether a group has members on a device other than the caller's
// own in-band sockets, of which there are own: then what the host sends to the group has
// to go in-band for them to get it. /proc/net/igmp is looked at at most once a second, and
// whenever own is not what it was. If it cannot be read, there are members.
func (k *Kernel) MembersBeside(group [4]byte, device int32, own int) bool {
	return k.members.beside(membership{group, device}, own, time.Now())
}

func (m *members) beside(which membership, own int, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.IsZero() || now.Sub(m.at) >= membersPause || m.staleLocked(which, own) {
		m.lookLocked()
		m.at = now
	}
	u := m.users[which]
	if u == nil {
		return !m.all
	}
	u.own = own
	return u.count > own
}

// staleLocked reports whether the caller has joined or left since the file was looked at.
func (m *members) staleLocked(which membership, own int) bool {
	if u := m.users[which]; u != nil {
		return u.own != own && (u.own != unasked || own > 0)
	}
	return own > 0 && m.all
}

// lookLocked reads the file.
func (m *members) lookLocked() {
	before := m.users
	m.users, m.all = map[membership]*users{}, false
	text, ok := m.text()
	if !ok {
		return
	}
	device := int32(0)
	for line := range bytes.Lines(text) {
		if index, ok := deviceLine(line); ok {
			device = index
			continue
		}
		group, count, ok := groupLine(line)
		if !ok {
			continue
		}
		if len(m.users) == maxMemberships {
			return
		}
		u := &users{count: count, own: unasked}
		if b := before[membership{group, device}]; b != nil {
			u.own = b.own
		}
		m.users[membership{group, device}] = u
	}
	m.all = true
}

// text returns what is in the file, at most maxText bytes.
func (m *members) text() (text []byte, ok bool) {
	const maxText = maxMemberships * 64
	if m.fd < 0 {
		return nil, false
	}
	text = make([]byte, 0, 4096)
	for len(text) < maxText {
		text = append(text, make([]byte, 4096)...)[:len(text)]
		n, err := unix.Pread(m.fd, text[len(text):cap(text)], int64(len(text)))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return text, err == nil
		}
		text = text[:len(text)+n]
	}
	return text, false
}

// deviceLine reads the line that begins a device's groups: "2\teth0 : 2 V3".
func deviceLine(line []byte) (index int32, ok bool) {
	number, _, ok := bytes.Cut(line, []byte{'\t'})
	if !ok || len(number) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(number), 10, 32)
	return int32(n), err == nil
}

// groupLine reads the line of a group: "\t\t\t\t010000E0     1 0:00000000\t\t0". The
// group is written as if its bytes were a number of the machine's order.
func groupLine(line []byte) (group [4]byte, count int, ok bool) {
	fields := bytes.Fields(line)
	if len(fields) < 2 || len(fields[0]) != 8 {
		return group, 0, false
	}
	n, err := strconv.ParseUint(string(fields[0]), 16, 32)
	if err != nil {
		return group, 0, false
	}
	count, err = strconv.Atoi(string(fields[1]))
	native.PutUint32(group[:], uint32(n))
	return group, min(count, math.MaxInt32), err == nil && bits.Len32(uint32(n)) > 0
}
