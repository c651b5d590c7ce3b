package shared

import (
	"cmp"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/status"
	"github.com/outband/outband/stack"
)

// A Status says what a Host does, as `outband status` shows it.
type Status struct {
	Program string `json:"program"`
	// Rung is the best that the process may have; Why says why it is not tcx.
	Rung    string         `json:"rung"`
	Why     string         `json:"why,omitempty"`
	Devices []DeviceStatus `json:"devices"`
	// Holders are how many ports are held in-band, each with its claim.
	Holders int64          `json:"holders"`
	Sockets []SocketStatus `json:"sockets"`
	// SentInBand is how many datagrams the kernel has sent by devices without a ring, or to
	// groups and broadcasts that others on the host hear.
	SentInBand uint64 `json:"sent_in_band"`
}

// A DeviceStatus is a device that has a ring, or by which something came in-band.
type DeviceStatus struct {
	Name  string `json:"name"`
	Index int32  `json:"index"`
	Ring  bool   `json:"ring"`
	Rung  string `json:"rung,omitempty"` // what keeps the kernel off what the ring has
	// ClaimedIn are datagrams that the kernel was kept from by tcx, FragmentsPassed those
	// fragments that it has had since a later one came first.
	ClaimedIn       uint64 `json:"claimed_in"`
	FragmentsPassed uint64 `json:"fragments_passed"`
	// HolderIn are datagrams that came in-band.
	HolderIn uint64 `json:"holder_in"`
}

// A SocketStatus is a socket of the stack's.
type SocketStatus struct {
	Proto  string `json:"proto"`
	Local  string `json:"local"`
	Remote string `json:"remote,omitempty"`
	RecvQ  int    `json:"recv_q"`
	Drops  uint32 `json:"drops"`
	// Path is "ring" or "holder", and Device by which it leads, 0 if that depends.
	Path   string `json:"path"`
	Device int    `json:"device"`
}

// Status returns what the Host does now.
func (h *Host) Status() Status {
	s := Status{Program: program(), Rung: h.claims.Rung().String(), Devices: h.deviceStatus(),
		Holders: h.ports.holds.Load(), SentInBand: h.st.Stats().Get("OutbandSentInBand")}
	if why := h.claims.Why(); why != nil {
		s.Why = why.Error()
	}
	s.Sockets = []SocketStatus{}
	for _, k := range h.st.Sockets() {
		s.Sockets = append(s.Sockets, socketStatus(k))
	}
	return s
}

// program returns the name of the process's program.
func program() string {
	name, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Base(name)
}

func socketStatus(k stack.SocketInfo) SocketStatus {
	s := SocketStatus{Proto: k.Proto, Local: k.Local.String(), RecvQ: k.RecvQ, Drops: k.Drops, Path: "ring", Device: k.Way.Interface}
	if k.Local == (netip.AddrPort{}) { // a packet socket's
		s.Local = ""
	}
	if k.Connected {
		s.Remote = k.Remote.String()
	}
	if k.Way.InBand {
		s.Path = "holder"
	}
	return s
}

// deviceStatus returns all devices that there is something to say of.
func (h *Host) deviceStatus() []DeviceStatus {
	all := make(map[int32]*DeviceStatus)
	at := func(index int32) *DeviceStatus {
		if all[index] == nil {
			all[index] = &DeviceStatus{Index: index}
		}
		return all[index]
	}
	h.ringMu.Lock()
	for index := range h.rings {
		d, stats := at(index), h.claims.Stats(int(index))
		d.Ring, d.ClaimedIn, d.FragmentsPassed = true, stats.Dropped, stats.Passed
		if r := h.claims.RungOf(int(index)); r != claim.Any {
			d.Rung = r.String()
		}
	}
	h.ringMu.Unlock()
	for index, n := range h.lo.HolderIn() {
		at(index).HolderIn = n
	}
	snapshot := h.kernel.Snapshot()
	list := make([]DeviceStatus, 0, len(all))
	for index, d := range all {
		if known, ok := snapshot.Device(index); ok {
			d.Name = known.Name
		}
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b DeviceStatus) int { return cmp.Compare(a.Index, b.Index) })
	return list
}

// serve has the process answer `outband status`. What cannot be had is done without.
func (h *Host) serve() {
	err := h.space.Do(func() (err error) {
		h.server, err = status.Serve(func() any { return h.Status() })
		return err
	})
	if err != nil {
		h.log(slog.LevelWarn, "outband status does not show the process", "error", err)
	}
}
