package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // in stderr
	}{
		{"no such command", []string{"fly"}, `unknown command "fly" for "outband"` + "\nTry 'outband --help'"},
		{"a command misspelt", []string{"pnig"}, `unknown command "pnig" for "outband"; did you mean ping?` + "\nTry 'outband --help'"},
		{"a command misspelt below another", []string{"mcast", "rcev"}, `unknown command "rcev" for "outband mcast"; did you mean recv?`},
		{"a command misspelt, its help", []string{"pnig", "--help"}, `unknown command "pnig" for "outband"; did you mean ping?`},
		{"a command misspelt, and -v", []string{"pnig", "-v"}, `unknown command "pnig" for "outband"; did you mean ping?`},
		{"a command misspelt below another, its help", []string{"bench", "ttr", "-h"}, `unknown command "ttr" for "outband bench"; did you mean rtt?`},
		{"help of no command", []string{"help", "bogus"}, `unknown command "bogus" for "outband"`},
		{"help of a command misspelt", []string{"help", "bench", "ttr"}, `unknown command "ttr" for "outband bench"; did you mean rtt?`},
		{"help below a command without any", []string{"help", "ping", "x"}, `unknown command "x" for "outband ping"`},
		{"completion of nothing", []string{"completion"}, "bash, zsh, fish or powershell"},
		{"completion of another shell", []string{"completion", "bsh"}, "did you mean bash"},
		{"no such flag", []string{"bench", "rtt", "--fast"}, "unknown flag: --fast\nTry 'outband bench rtt --help'"},
		{"bench of nothing", []string{"bench"}, "rtt or tput"},
		{"arguments that nobody takes", []string{"bench", "rtt", "more"}, `unknown command "more"`},
		{"bad size", []string{"bench", "rtt", "--size", "many"}, `"many" is no size`},
		{"size too large", []string{"bench", "rtt", "--size", "64,9K"}, "payload of 9000 bytes"},
		{"bad CPUs", []string{"bench", "rtt", "--cpu", "0"}, "not two CPUs"},
		{"no such contender", []string{"bench", "tput", "--contenders", "smoke"}, `no contender "smoke"`},
		{"bad job", []string{"bench-end", "{"}, "job: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, err := run(tt.args...)
			if code != ExitFailed || out != "" || !strings.HasPrefix(err, "outband: ") || !strings.Contains(err, tt.want) {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, err)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"bench", "--help"}, {"bench", "rtt", "-h"}, {"bench", "tput", "-h"},
		{"help", "mcast", "recv"}, {"help", "completion", "bash"}, {"help", "help"}} {
		code, out, err := run(args...)
		if code != ExitOK || err != "" || !strings.Contains(out, "Usage:") || strings.Contains(out, "bench-end") {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, code, out, err)
		}
	}
	if _, out, _ := run("help"); !strings.Contains(out, "man outband-ping") || !strings.Contains(out, "outband help completion") {
		t.Errorf("the help of all says neither where the manual is nor how to complete:\n%s", out)
	}
	for _, arg := range []string{"--version", "version"} {
		code, out, err := run(arg)
		if code != ExitOK || err != "" || !strings.HasPrefix(out, "outband ") || !strings.HasSuffix(out, " "+runtime.Version()+"\n") {
			t.Errorf("%s: code %d, stdout %q, stderr %q", arg, code, out, err)
		}
	}
	code, out, err := run("version", "--json")
	if code != ExitOK || err != "" || !strings.HasPrefix(out, `{"schema":1,"revision":"`) {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, err)
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code int
		text string // on stderr
	}{
		{"done", nil, ExitOK, ""},
		{"no", answerNo("no replies"), ExitNo, "outband: no replies\n"},
		{"no, said already", answerNo(""), ExitNo, ""},
		{"wrapped no", fmt.Errorf("ping: %w", answerNo("x")), ExitNo, "outband: x\n"},
		{"other process", exited(7), 7, ""},
		{"failed", errors.New("broken"), ExitFailed, "outband: broken\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var text bytes.Buffer
			a := &app{err: &text}
			if code := a.exitCode(tt.err); code != tt.code || text.String() != tt.text {
				t.Errorf("code %d, stderr %q", code, text.String())
			}
		})
	}
}

func TestPermissionHint(t *testing.T) {
	var text bytes.Buffer
	a := &app{err: &text, args: []string{"send", "10.0.0.1:7", "it's"}}
	code := a.exitCode(denied(fmt.Errorf("open near0: %w", unix.EPERM), unix.CAP_NET_RAW))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := "outband: open near0: operation not permitted: this needs CAP_NET_RAW\n" +
		"  once:     sudo " + exe + ` send 10.0.0.1:7 'it'\''s'` + "\n" +
		"  for good: sudo setcap cap_net_raw+ep " + exe + "\n"
	if code != ExitFailed || text.String() != want {
		t.Errorf("code %d, stderr:\n%s\nwant:\n%s", code, text.String(), want)
	}
}

func TestDeniedLeavesOtherErrors(t *testing.T) {
	if err := denied(unix.ENODEV, unix.CAP_NET_RAW); err != unix.ENODEV {
		t.Errorf("got %v", err)
	}
	if err := denied(nil, unix.CAP_NET_RAW); err != nil {
		t.Errorf("got %v", err)
	}
	both := denied(unix.EACCES, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW)
	if !errors.Is(both, unix.EACCES) || !strings.HasSuffix(both.Error(), "CAP_NET_ADMIN, CAP_NET_RAW") {
		t.Errorf("got %v", both)
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"plain-1.2:3": "plain-1.2:3", "": "''", "a b": "'a b'", "$x": "'$x'", "'": `''\'''`} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if terminal(null) || terminal(&bytes.Buffer{}) || styled(null) {
		t.Error("taken for a terminal")
	}
}

func TestBenchJSON(t *testing.T) {
	lab.Need(t)
	code, out, err := run("bench", "rtt", "--json", "--rounds", "1", "--count", "20", "--contenders", "ring,kernel-spin", "--cpu", "none")
	var report struct {
		Schema       int
		Surroundings map[string]any
		Results      []struct {
			Contender string
			Payload   int      `json:"payload_bytes"`
			Rounds    int      `json:"rounds"`
			Min       int64    `json:"min_ns"`
			P50       int64    `json:"p50_ns"`
			P99       int64    `json:"p99_ns"`
			P999      int64    `json:"p999_ns"`
			XFloor    *float64 `json:"x_floor"`
		}
	}
	if e := json.Unmarshal([]byte(out), &report); e != nil || code != ExitOK {
		t.Fatalf("code %d, %v, stdout %q, stderr %q", code, e, out, err)
	}
	if report.Schema != 1 || len(report.Surroundings) == 0 || len(report.Results) != 2 {
		t.Fatalf("%+v", report)
	}
	for i, name := range []string{"ring", "kernel-spin"} {
		r := report.Results[i]
		if r.Contender != name || r.Payload != 64 || r.Rounds != 1 || r.Min <= 0 || r.P999 < r.P50 || r.XFloor == nil {
			t.Errorf("%+v", r)
		}
	}
	if err != "round 1 of 1\n" {
		t.Errorf("stderr %q", err)
	}
}

func TestBenchText(t *testing.T) {
	lab.Need(t)
	code, out, _ := run("bench", "tput", "--rounds", "1", "--time", "10ms", "--size", "64", "--contenders", "kernel")
	if code != ExitOK || !strings.HasPrefix(out, "kernel    Linux ") || !strings.Contains(out, "\nkernel  ") {
		t.Errorf("code %d, stdout:\n%s", code, out)
	}
}

// TestBenchWithoutRoot runs the command as a user who is nobody special.
func TestBenchWithoutRoot(t *testing.T) {
	lab.Need(t) // to become nobody takes root
	if !userNamespaces() {
		t.Skip("no user namespaces here")
	}
	const nobody = 65534
	cmd := exec.Command("/proc/self/exe", "bench", "rtt", "--rounds", "1", "--count", "20", "--contenders", "ring,kernel-block")
	cmd.Env = append(os.Environ(), commandMark+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nkernel-block ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWithoutUserNamespace runs it where there is neither root nor a way to
// become it: a user namespace without a mapping.
func TestWithoutUserNamespace(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "bench", "rtt")
	cmd.Env = append(os.Environ(), commandMark+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Skip("no user namespaces here:", err)
	}
	cmd.Wait()
	text := stderr.String()
	if cmd.ProcessState.ExitCode() != ExitFailed || out.Len() != 0 ||
		!strings.Contains(text, "needs CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW\n  once:     sudo ") ||
		!strings.Contains(text, " bench rtt\n  for good: sudo setcap cap_sys_admin,cap_net_admin,cap_net_raw+ep ") {
		t.Errorf("%v, stdout %q, stderr:\n%s", cmd.ProcessState, out.String(), text)
	}
}

func TestInterrupt(t *testing.T) {
	lab.Need(t)
	cmd := exec.Command("/proc/self/exe", "bench", "rtt", "--rounds", "1000", "--count", "100", "--contenders", "kernel-block")
	cmd.Env = append(os.Environ(), commandMark+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	var said []byte
	for buf := make([]byte, 256); !bytes.Contains(said, []byte("round 3 of")); {
		n, err := stderr.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, buf[:n]...)
	}
	cmd.Process.Signal(unix.SIGINT)
	rest := new(bytes.Buffer)
	rest.ReadFrom(stderr)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != ExitNo {
		t.Errorf("code %d, stderr %s", code, rest)
	}
	if !strings.Contains(out.String(), "\nkernel-block ") || !strings.Contains(rest.String(), "outband: interrupted") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", out.String(), rest)
	}
}
