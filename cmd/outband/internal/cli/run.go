package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/preload"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/stack"
)

// runFlags are those of "outband run".
type runFlags struct {
	device   string
	addr     string
	gateway  values.Addr
	spin     values.Spin
	only     []uint
	fork     string
	loopback bool
	report   bool
	anyway   bool
}

func (a *app) run() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a C program with its UDP out-of-band",
		Long: `Runs a program, as it is, over a stack of its own: its UDP and ping sockets are
out-of-band, and all else of it (TCP, Unix sockets, netlink, files) stays the
kernel's, also in one epoll, poll or select with them. It works by a library that
is preloaded: outband-preload.so and liboutband.so, from the folder of this
command, from ../lib/outband beside it, or from $` + preload.EnvFolder + `. Children inherit it.

A program that no library can be preloaded into is refused, with the reason:
static ones, Go programs, setuid ones, ones with file capabilities, ones linked
with musl.

Loopback stays in-band, unless --loopback is given. Sockets that were inherited
from a parent are opened again in a child when it first uses them (--fork). A
program that is executed gets in-band sockets.

The program needs the privileges of a stack. What this command has by its file
capabilities, the program has too.

The same by the environment, without this command: LD_PRELOAD=outband-preload.so
and OUTBAND_DEV, OUTBAND_ADDR, OUTBAND_GATEWAY, OUTBAND_SPIN, OUTBAND_ONLY, OUTBAND_FORK, OUTBAND_LOOPBACK=1,
OUTBAND_REPORT=1.`,
		Example: `  outband run --dev eth1 -- dnsmasq --no-daemon
  outband run --dev eth1 --spin always --report -- sockperf ping-pong -i 192.0.2.1 -p 7777`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.runProgram(&f, args) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the program is the program's
	flags.StringVar(&f.device, "dev", "", "network devices to use, with commas between (default all that are up and have an IPv4 address)")
	flags.StringVar(&f.addr, "addr", "shared", "an address of the stack's own and its network, such as 10.9.0.1/24, which the kernel has not; or shared: the kernel's")
	flags.Var(&f.gateway, "gateway", "router for other networks, with --addr")
	flags.Var(&f.spin, "spin", "how long a wait spins before it sleeps: a duration, always, never or default")
	flags.UintSliceVar(&f.only, "only", nil, "sockets that are bound to, or send to one of these `ports` first, and no others")
	flags.StringVar(&f.fork, "fork", "again", "sockets that a child of fork uses: open them again in a stack of the child's, inband, or fail")
	flags.BoolVar(&f.loopback, "loopback", false, "loopback addresses too")
	flags.BoolVar(&f.report, "report", false, "say at the end, and on SIGUSR1, what became of each socket")
	flags.BoolVar(&f.anyway, "anyway", false, "run programs too that cannot be reached: they stay in-band")
	completeDevices(cmd, "dev")
	completeWords(cmd, "spin", "always", "never", "default")
	completeWords(cmd, "fork", "again", "inband", "fail")
	completeWords(cmd, "addr", "shared")
	return cmd
}

// settings returns what the shim is to be told.
func (f *runFlags) settings() (*preload.Settings, error) {
	s := &preload.Settings{Devices: f.device, Spin: f.spin.String(), Fork: f.fork, Loopback: f.loopback, Report: f.report}
	if d := time.Duration(f.spin); d > 0 && d != stack.SpinAlways {
		s.Spin = fmt.Sprintf("%dns", d.Nanoseconds())
	}
	if f.addr != "shared" {
		var own values.Prefix
		if err := own.Set(f.addr); err != nil {
			return nil, fmt.Errorf("--addr: %w, or shared", err)
		}
		s.Address = own.String()
	}
	if f.gateway.IsValid() {
		if s.Address == "" {
			return nil, errors.New("--gateway is for an address of our own (--addr): with the kernel's, routes are the kernel's too")
		}
		s.Gateway = f.gateway.String()
	}
	switch f.fork {
	case "again", "inband", "fail":
	default:
		return nil, fmt.Errorf("--fork: %q is none of again, inband, fail", f.fork)
	}
	var ports []string
	for _, p := range f.only {
		if p < 1 || p > 65535 {
			return nil, fmt.Errorf("--only: there is no port %d", p)
		}
		ports = append(ports, strconv.FormatUint(uint64(p), 10))
	}
	s.Only = strings.Join(ports, ",")
	return s, f.chooseDevices(s)
}

// chooseDevices names the devices where the user has not.
func (f *runFlags) chooseDevices(s *preload.Settings) error {
	if s.Devices != "" {
		return nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	var names []string
	for _, device := range all {
		if device.Flags&net.FlagUp != 0 && device.Flags&net.FlagLoopback == 0 && hasIPv4(device) {
			names = append(names, device.Name)
		}
	}
	switch {
	case len(names) == 0:
		return errors.New("no device is up and has an IPv4 address: --dev names one")
	case s.Address != "" && len(names) > 1:
		return fmt.Errorf("an address of our own is on one device: --dev names it, of %s", strings.Join(names, ", "))
	}
	s.Devices = strings.Join(names, ",")
	return nil
}

func hasIPv4(device net.Interface) bool {
	addrs, err := device.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return true
		}
	}
	return false
}

// runProgram becomes the program.
func (a *app) runProgram(f *runFlags, args []string) error {
	settings, err := f.settings()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	why, err := preload.Inspect(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if why != "" {
		if !f.anyway {
			return fmt.Errorf("%s %s (--anyway runs it in-band)", path, why)
		}
		fmt.Fprintf(a.err, "outband: %s %s: it runs in-band\n", path, why)
	}
	dir, err := preload.Find()
	if err != nil {
		return err
	}
	environ, err := settings.Environ(os.Environ(), dir)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := preload.HandOnCapabilities(); err != nil {
		return fmt.Errorf("capabilities of the program: %w", err)
	}
	// This command ignores SIGPIPE, and what is ignored stays so in a program: what is
	// handled does not.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	return fmt.Errorf("%s: %w", path, unix.Exec(path, args, environ))
}
