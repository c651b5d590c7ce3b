package preload

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// A way is how programs run: in-band, or under "outband run".
type way struct {
	name string
	out  bool
}

var ways = []way{{"in-band", false}, {"out-of-band", true}}

// A world is two hosts on a wire, with programs that run in one way.
type world struct {
	way
	t            *testing.T
	server, near *lab.Endpoint // far0 10.9.0.2 and near0 10.9.0.1
	folder       string        // of "outband run", and of what it preloads
}

const serverAddr = "10.9.0.2"

// bothWays runs a scene in each way, in worlds of their own, and compares what it returns.
func bothWays(t *testing.T, scene func(w *world) string, programs ...string) {
	t.Helper()
	t.Parallel() // they mostly wait
	lab.Need(t)
	for _, p := range programs {
		lab.NeedProgram(t, p)
	}
	folder := installed(t)
	var seen [2]string
	for i, how := range ways {
		t.Run(how.name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: lab.All})
			for _, end := range l.Ends {
				lab.Output(t, end.Namespace, "ip", "link", "set", "lo", "up")
				t.Cleanup(func() { lab.EndProcesses(t, end.Namespace) })
			}
			seen[i] = scene(&world{how, t, l.Far(), l.Near(), folder})
			t.Logf("%s", seen[i])
		})
	}
	if seen[0] != seen[1] && !t.Failed() {
		t.Errorf("%s", differences(seen[0], seen[1]))
	}
}

// installed builds what "outband run" is and needs, unless OUTBAND_LIB says where it is.
func installed(t *testing.T) string {
	if dir := os.Getenv("OUTBAND_LIB"); dir != "" {
		return dir
	}
	return once(t, "lib", func(path string) *exec.Cmd {
		return exec.Command("bash", "-c", `../../shim/build "$0" && go build -o "$0/outband" ../../cmd/outband`, path)
	})
}

// command returns a program at one end, with flags of "outband run" before its own.
func (w *world) command(ctx context.Context, at *lab.Endpoint, flags, args []string) *exec.Cmd {
	if w.out {
		args = append(append([]string{filepath.Join(w.folder, "outband"), "run", "--dev", at.Name, "--report"}, flags...), append([]string{"--"}, args...)...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// client runs a program at the near end to its end, and returns what it prints on both
// streams, without the report, which says that its datagrams went out-of-band.
func (w *world) client(args ...string) string { return w.with(nil, args...) }

// with is client with flags of "outband run".
func (w *world) with(flags []string, args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	cmd := w.command(ctx, w.near, flags, args)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := w.near.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	fmt.Fprintf(&out, "\n%s", complaints.Bytes())
	if err != nil {
		w.t.Fatalf("%q: %v\n%s", args, err, out.Bytes())
	}
	if w.out && !regexp.MustCompile(`out-of-band.*: \d+ in, [1-9]\d* out`).MatchString(out.String()) {
		w.t.Errorf("%q: nothing went out-of-band:\n%s", args, out.Bytes())
	}
	return programText(out.String())
}

// upTo runs a program at the near end until it has printed a text, which it is to do within a time,
// and returns what it has printed.
func (w *world) upTo(limit time.Duration, text string, args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	cmd := w.command(ctx, w.near, nil, args)
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = w.near.Do(cmd.Start)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var seen strings.Builder
	for from := bufio.NewReader(out); !strings.Contains(seen.String(), text); {
		line, err := from.ReadString('\n')
		seen.WriteString(line)
		if err != nil {
			w.t.Errorf("%q has not printed %q: %v\n%s", args, text, err, seen.String())
			break
		}
	}
	cmd.Cancel()
	cmd.Wait()
	return programText(seen.String())
}

// A daemon is a program at the far end that runs until it is ended.
type daemon struct {
	cmd *exec.Cmd
	out bytes.Buffer
	w   *world
}

// start starts a program at the far end, and waits until it has a UDP port, if port is not 0. When
// the test is over it is ended, with what it has started.
func (w *world) start(port int, args ...string) *daemon {
	w.t.Helper()
	d := &daemon{cmd: w.command(context.Background(), w.server, nil, args), w: w}
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := w.server.Do(d.cmd.Start); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(d.end)
	if port != 0 {
		w.await(port)
	}
	return d
}

func (d *daemon) end() {
	if d.cmd.ProcessState != nil {
		return
	}
	done := make(chan error, 1)
	unix.Kill(-d.cmd.Process.Pid, unix.SIGINT)
	unix.Kill(-d.cmd.Process.Pid, unix.SIGTERM)
	go func() { done <- d.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		unix.Kill(-d.cmd.Process.Pid, unix.SIGKILL)
		<-done
	}
	if d.w.t.Failed() {
		d.w.t.Logf("%q:\n%s", d.cmd.Args, d.out.Bytes())
	}
}

// await waits until a program at the far end has a UDP port, in either way, and awaitTCP a TCP port.
func (w *world) await(port int)    { w.awaitIn("net/udp", fmt.Sprintf(":%04X", port), "07") }
func (w *world) awaitTCP(port int) { w.awaitIn("net/tcp", fmt.Sprintf(":%04X", port), "0A") }

func (w *world) awaitIn(file, port, state string) {
	w.t.Helper()
	for end := time.Now().Add(lab.Patience); ; time.Sleep(20 * time.Millisecond) {
		var tables []byte
		for _, name := range []string{file, file + "6"} {
			if table, err := w.server.ReadFile(name); err == nil {
				tables = append(tables, table...)
			}
		}
		for line := range strings.Lines(string(tables)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], port) && f[3] == state && isPrograms(f[9]) {
				return
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("nobody has port %s:\n%s", port, tables)
		}
	}
}

// highest is above all descriptors of the programs, and below the library's.
const highest = 1024

// isPrograms reports whether a socket is a descriptor of a program's: the library has it before, while it
// is not ready for what comes.
func isPrograms(inode string) bool {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, l := range links {
		number, err := strconv.Atoi(filepath.Base(l))
		if err != nil || number > highest {
			continue
		}
		if to, err := os.Readlink(l); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// lines returns the lines of a text that match, with numbers taken out where blur says so.
func lines(text, pattern string, blur *regexp.Regexp) string {
	var b strings.Builder
	re := regexp.MustCompile(pattern)
	for line := range strings.Lines(text) {
		if !re.MatchString(line) {
			continue
		}
		if blur != nil {
			line = blur.ReplaceAllString(line, "#")
		}
		b.WriteString(line)
	}
	return b.String()
}

// numbers are what differs from run to run.
var numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
