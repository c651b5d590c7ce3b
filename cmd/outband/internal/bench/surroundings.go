package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/peers"
	"github.com/outband/outband/link/tpacket"
)

// Surroundings are what a figure is worth nothing without.
type Surroundings struct {
	Kernel     string  `json:"kernel"` // release and machine, as uname(1) writes them
	CPU        string  `json:"cpu_model"`
	CPUs       int     `json:"cpus"`
	GOMAXPROCS int     `json:"gomaxprocs"`
	Go         string  `json:"go_version"`
	Revision   string  `json:"revision"` // of this program's source
	Link       string  `json:"link"`
	MTU        int     `json:"mtu_bytes"`
	Ring       Ring    `json:"ring"`         // of the bare ring
	Ours       Ring    `json:"outband_ring"` // of our stack
	Pinned     []int   `json:"pinned_cpus"`  // of the near and the far end; empty: not pinned
	Rounds     int     `json:"rounds"`
	Count      int     `json:"count,omitempty"`   // round trips in a round
	Seconds    float64 `json:"seconds,omitempty"` // of sending in a round
}

// Ring is a receive ring's geometry.
type Ring struct {
	Version   string `json:"version"`
	Slots     int    `json:"slots"`
	SlotBytes int    `json:"slot_bytes"`
}

const ringVersion = "TPACKET_V2"

// surroundings finds out where this program runs.
func surroundings() Surroundings {
	return Surroundings{
		Kernel: kernel(), CPU: cpuModel("/proc/cpuinfo"), CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Go: runtime.Version(), Revision: Revision(), Link: "veth", MTU: 1500,
		Ring: Ring{Version: ringVersion, Slots: peers.RingSlots, SlotBytes: peers.RingSlot},
		Ours: Ring{Version: ringVersion, Slots: tpacket.DefaultSlots, SlotBytes: slotSize},
	}
}

// Print writes the surroundings in lines of name and value.
func (s Surroundings) Print(w io.Writer) {
	ends := "ends not pinned"
	if len(s.Pinned) == 2 {
		ends = fmt.Sprintf("ends on CPUs %d and %d", s.Pinned[0], s.Pinned[1])
	}
	fmt.Fprintf(w, "kernel    Linux %s\n", s.Kernel)
	fmt.Fprintf(w, "CPU       %s, %d CPUs, GOMAXPROCS %d, %s\n", s.CPU, s.CPUs, s.GOMAXPROCS, ends)
	fmt.Fprintf(w, "link      %s, MTU %d\n", s.Link, s.MTU)
	fmt.Fprintf(w, "ring      %s, ours %d slots of %d bytes, the bare one %d of %d\n",
		s.Ours.Version, s.Ours.Slots, s.Ours.SlotBytes, s.Ring.Slots, s.Ring.SlotBytes)
	fmt.Fprintf(w, "revision  %s, %s\n", s.Revision, s.Go)
}

// Revision returns the version control revision from which this program was
// built, with "-dirty" if the source had been changed; or the module's version;
// or "unknown".
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	switch {
	case revision != "":
		return revision + dirty
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return "unknown"
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

// cpuModel reads the first CPU's model from a file as /proc/cpuinfo.
func cpuModel(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
