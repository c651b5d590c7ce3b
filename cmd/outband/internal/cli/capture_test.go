package cli

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// captured are the commands that open a stack, each so that it runs until it is told to
// end. What is not in a lab makes its own network.
var captured = []struct {
	words string
	lab   bool
}{
	{"ping 10.9.0.2 -i 0.01", true},
	{"echo --port 7", true},
	{"send 10.9.0.2:4000", true},
	{"recv --port 4000", true},
	{"neigh 10.9.0.77 -w 1h", true},
	{"stat", true},
	{"mcast recv 239.9.0.1:5000", true},
	{"mcast send 239.9.0.1:5000 --size 100 --count 1000000 --rate 1000", true},
	{"mcast groups 239.9.0.1:5000 --time 1h", true},
	{"latmus -E 10.9.0.2", true},
	{"demo", false},
	{"bench rtt --contenders outband-spin --rounds 1000 --count 2000", false},
	{"bench rtt --contenders outband-half --rounds 100 --count 100000", false},
	{"bench tput --contenders outband --rounds 2 --time 10s", false},
}

// TestCaptureOnAll has a command that opens a stack and takes no --capture, or is not
// tested below, fail.
func TestCaptureOnAll(t *testing.T) {
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		for _, sub := range cmd.Commands() {
			walk(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
		switch { // run has its stack in the program's process
		case cmd.HasSubCommands(), cmd.Hidden, slices.Contains([]string{"version", "status", "help", "run"}, path), strings.HasPrefix(path, "completion"):
			return
		}
		if cmd.Flags().Lookup("capture") == nil {
			t.Errorf("%s has no --capture", path)
		}
		if !slices.ContainsFunc(captured, func(c struct {
			words string
			lab   bool
		}) bool {
			return strings.HasPrefix(c.words+" ", path+" ")
		}) {
			t.Errorf("%s: its capture is not tested", path)
		}
	}
	walk((&app{}).root(), "")
}

// A section is what a capture file has from one header to the next.
type section struct{ frames, said, dropped uint64 }

// sections reads a capture file strictly: it must end with a whole block.
func sections(file []byte) (all []section, err error) {
	const header, frame, statistics = 0x0a0d0d0a, 6, 5
	for at := 0; at < len(file); {
		b := file[at:]
		if len(b) < 12 {
			return all, fmt.Errorf("%d bytes at the end", len(b))
		}
		n := int(binary.LittleEndian.Uint32(b[4:]))
		if n < 12 || n > len(b) || binary.LittleEndian.Uint32(b[n-4:]) != uint32(n) {
			return all, fmt.Errorf("a block of %d bytes where %d are left", n, len(b))
		}
		kind := binary.LittleEndian.Uint32(b)
		if kind == header {
			all = append(all, section{said: ^uint64(0)})
		}
		s := &all[len(all)-1]
		switch kind {
		case frame:
			s.frames++
		case statistics: // after its interface and time: isb_ifrecv, isb_ifdrop
			s.said, s.dropped = binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[36:])
		}
		at += n
	}
	return all, nil
}

// TestCaptureIsWhole ends each command by a signal: its capture has all that was
// captured, and other programs can read it.
func TestCaptureIsWhole(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
		for _, c := range captured {
			t.Run(fmt.Sprintf("%v %s", sig, c.words), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "all.pcapng")
				args := append(strings.Fields(c.words), "--capture", file)
				_, near := half(t)
				var p *process
				if c.lab {
					p = near(args...)
				} else {
					p = start(t, nil, nil, args...)
				}
				awaitFrames(t, p, file)
				p.signal(sig)
				p.wait()
				if !p.cmd.ProcessState.Exited() {
					t.Errorf("ended by %v", p.cmd.ProcessState)
				}
				checkCapture(t, file)
				if strings.HasPrefix(c.words, "ping") {
					checkPings(t, p.out.String(), file)
				}
			})
		}
	}
}

// awaitFrames waits until there is a frame in a capture.
func awaitFrames(t *testing.T, p *process, file string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if b, err := readHead(file, 1<<16); err == nil {
			all, _ := sections(b)
			if len(all) > 0 && all[0].frames > 0 {
				return
			}
		}
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		if ended || time.Now().After(deadline) {
			t.Fatalf("%v captures nothing\nstdout:\n%s\nstderr:\n%s", p.cmd.Args[1:], p.out, p.err)
		}
	}
}

// readHead returns up to n bytes of the beginning of a file: a capture may grow faster than
// it can be read.
func readHead(file string, n int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

// checkCapture holds a capture file to what it says of itself.
func checkCapture(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := sections(b)
	if err != nil {
		t.Error(err)
	}
	total := uint64(0)
	for i, s := range all {
		if s.frames+s.dropped != s.said {
			t.Errorf("section %d of %d: %d frames and %d dropped of %d", i+1, len(all), s.frames, s.dropped, int64(s.said))
		}
		total += s.frames
	}
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Log("no tcpdump here: read by ourselves only")
		return
	}
	out, err := exec.Command("tcpdump", "-n", "-t", "-r", file, "-w", file+".again").CombinedOutput()
	if err != nil {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
	if again, err := os.ReadFile(file + ".again"); err != nil || countClassic(again) != total {
		t.Errorf("tcpdump has %d frames of %d (%v)", countClassic(again), total, err)
	}
}

// countClassic returns how many frames a file in tcpdump's own format has.
func countClassic(b []byte) (frames uint64) {
	for at := 24; at+16 <= len(b); frames++ {
		at += 16 + int(binary.LittleEndian.Uint32(b[at+8:]))
	}
	return frames
}

// checkPings holds a capture to what ping says that it sent.
func checkPings(t *testing.T, out, file string) {
	t.Helper()
	var sent, received int
	_, summary, _ := strings.Cut(out, "ping statistics ---\n")
	if _, err := fmt.Sscanf(summary, "%d packets transmitted, %d received", &sent, &received); err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	requests, replies := 0, 0
	for at := 0; at < len(b); at += int(binary.LittleEndian.Uint32(b[at+4:])) {
		// An IPv4 header without options stands 14 bytes behind the block's 28.
		if f := b[at+28:]; binary.LittleEndian.Uint32(b[at:]) == 6 && f[12] == 8 && f[13] == 0 && f[23] == unix.IPPROTO_ICMP {
			switch f[34] {
			case 8:
				requests++
			case 0:
				replies++
			}
		}
	}
	if requests != sent || replies < received {
		t.Errorf("%d requests and %d replies in the capture, %d and %d said", requests, replies, sent, received)
	}
}
