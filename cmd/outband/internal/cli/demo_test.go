package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/demo"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/test/lab"
)

// temporary makes a process put its temporary files where the test looks.
func temporary(dir string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "TMPDIR="+dir) }
}

// nothingLeft fails the test if there is a file in dir, a named namespace that was
// not there before, or a process of this program that is not this one.
func nothingLeft(t *testing.T, dir string, before []string) {
	t.Helper()
	if left := names(dir); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
	for _, name := range names("/run/netns") {
		if !slices.Contains(before, name) && strings.Contains(name, "outband") {
			t.Errorf("namespace left: %s", name)
		}
	}
	for _, pid := range children(t) {
		t.Errorf("process left: %s", pid)
	}
}

func names(dir string) (list []string) {
	entries, _ := os.ReadDir(dir) // a directory that is not there has none
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// children returns the processes that run this test's program, but for this one.
func children(t *testing.T) (pids []string) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	me, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range names("/proc") {
		if exe, err := os.Readlink("/proc/" + pid + "/exe"); err == nil && exe == self && pid != me && pid != "self" && pid != "thread-self" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestDemo(t *testing.T) {
	lab.Need(t)
	dir, before := t.TempDir(), names("/run/netns")
	began := time.Now()
	p := start(t, nil, temporary(dir), "demo")
	p.end(ExitOK, "*", "")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	nothingLeft(t, dir, before)
	checkDemo(t, p.out.String())
}

// checkDemo checks what a demo says.
func checkDemo(t *testing.T, text string) {
	t.Helper()
	for _, want := range []string{
		"\n1. Neighbours", " ok  kernel  10.9.0.1 dev far0 lladdr 02:00:0a:09:00:01 REACHABLE\n", " ok  ours    10.9.0.2 dev near0 lladdr 02:00:0a:09:00:02 REACHABLE\n",
		"\n2. Ping", " ok  ours -> kernel  3 of 3 replies, ttl=64, rtt min/avg/max/mdev = ", " ok  kernel -> ours  3 of 3 replies, ttl=64, rtt min/avg/max/mdev = ",
		"\n3. UDP", " ok  ours -> kernel -> ours    1, 64, 512, 1472, 1473, 9000, 32768, 65507 bytes\n", " ok  kernel -> ours -> kernel  the same; either end refuses 65508 bytes with EMSGSIZE\n",
		"we cut 8 datagrams into 154 and put 8 together\n",
		"\n4. Port unreachable", " ok  ours -> kernel, port 9: the next call returns ECONNREFUSED\n", " ok  kernel -> ours, port 9: the same",
		"\n5. Capture", "demo.pcapng: ", "; read back: ",
		"\n6. Round trips", " ok  medians of ", "\n     ring ", "\n     outband-spin ", "\n     go-net ",
		"\nAll is well, after ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if lines := strings.Count(text, "\n"); lines > 45 || strings.Contains(text, "FAILED") || strings.Contains(text, "\x1b") {
		t.Errorf("%d lines", lines)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s", text)
	}
}

// TestDemoJSON runs the demo as nobody special, in a user namespace, if there are
// such; else as it is.
func TestDemoJSON(t *testing.T) {
	lab.Need(t) // to become nobody takes root
	dir, kept := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, kept, dir + "/.."} { // they are this user's alone
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	file := kept + "/demo.pcapng"
	p := start(t, nil, func(cmd *exec.Cmd) {
		temporary(dir)(cmd)
		if userNamespaces() {
			const nobody = 65534
			cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
	}, "demo", "--json", "--capture", file)
	p.end(ExitOK, "*", "")
	var got demo.Report
	if err := json.Unmarshal([]byte(p.out.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, p.out)
	}
	var steps []string
	for _, s := range got.Steps {
		steps = append(steps, s.Name)
	}
	if want := []string{"neighbours", "ping", "datagrams", "unreachable", "capture", "round_trips"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v", steps)
	}
	if got.Schema != 1 || !got.OK || got.Elapsed <= 0 || len(got.RoundTrips) != 8 {
		t.Errorf("%+v", got)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Capture; !c.Kept || c.File != file || c.Bytes != info.Size() || c.Frames != c.In+c.Out || c.In < 100 || c.Out < 100 {
		t.Errorf("%+v", c)
	}
	nothingLeft(t, dir, names("/run/netns"))
}

// userNamespaces reports whether this system lets processes make them.
func userNamespaces() bool {
	cmd := exec.Command("/proc/self/exe", "--version")
	cmd.Env = append(os.Environ(), commandMark+"=1")
	netlab.EnterUserNamespace(cmd)
	return cmd.Run() == nil
}

func TestDemoInterrupted(t *testing.T) {
	lab.Need(t)
	for _, at := range []string{"1. ", "3. ", "6. "} {
		dir := t.TempDir()
		p := start(t, nil, temporary(dir), "demo")
		p.expect(p.out, "\n"+at)
		p.signal(unix.SIGINT)
		p.end(ExitNo, "*", "outband: interrupted; nothing stays behind\n")
		if strings.Contains(p.out.String(), "FAILED") {
			t.Errorf("stdout:\n%s", p.out)
		}
		nothingLeft(t, dir, names("/run/netns"))
	}
}

func TestDemoCannotRun(t *testing.T) {
	lab.Need(t)
	code, _, err := run("demo", "--capture", "/there/is/no/such/directory")
	if code != ExitFailed || err != "outband: open /there/is/no/such/directory: no such file or directory\n" {
		t.Errorf("code %d, stderr %q", code, err)
	}
}

func TestDemoShow(t *testing.T) {
	var out strings.Builder
	show := &demoShow{out: &out, marks: marks{"+", "-", "<", ">"}, clear: func() {}}
	show.Step("First")
	show.Check(demo.Check{Text: "fine", OK: true})
	show.Check(demo.Check{Text: "not fine", Error: "broken"})
	show.Note("so")
	const want = "\n<1. First>\n +  fine\n -  not fine: broken\n     so\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestUTF8Locale(t *testing.T) {
	tests := []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false}, {"", "", "C", false}, {"", "", "en_US.UTF-8", true}, {"", "C.utf8", "C", true}, {"C", "", "en_US.UTF-8", false},
	}
	for _, tt := range tests {
		t.Setenv("LC_ALL", tt.all)
		t.Setenv("LC_CTYPE", tt.ctype)
		t.Setenv("LANG", tt.lang)
		if got := utf8Locale(); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}
