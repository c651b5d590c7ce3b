package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pcapng/replay"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// A log is a Show that keeps what it is shown.
type log struct{ strings.Builder }

func (l *log) Step(title string) { l.WriteString("# " + title + "\n") }
func (l *log) Note(text string)  { l.WriteString("  " + text + "\n") }
func (l *log) Check(c Check) {
	if c.OK {
		l.WriteString("+ " + c.Text + "\n")
		return
	}
	l.WriteString("- " + c.Text + ": " + c.Error + "\n")
}

// prepare opens a demo without running it.
func prepare(t *testing.T) (*demo, *log) {
	t.Helper()
	lab.Need(t)
	lab.CheckLeaks(t)
	t.Setenv("TMPDIR", t.TempDir())
	l := &log{}
	d := &demo{Config: Config{Show: l}, interrupted: func() bool { return false }, report: &Report{}}
	if err := d.open(context.Background()); err != nil {
		t.Fatal(err, d.close())
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return d, l
}

func TestStepsPass(t *testing.T) {
	d, l := prepare(t)
	for _, step := range []func(context.Context){d.neighbours, d.pings, d.datagrams, d.unreachable, d.capture} {
		step(context.Background())
	}
	if !d.report.passed() || len(d.report.Steps) != 5 {
		t.Errorf("%s", l)
	}
	for _, s := range d.report.Steps {
		if len(s.Checks) == 0 || s.Name == "" || s.Title == "" {
			t.Errorf("%+v", s)
		}
	}
}

// TestStepsFail takes the wire away: each step must say so, and end.
func TestStepsFail(t *testing.T) {
	d, l := prepare(t)
	if err := d.wire.Far.SetDown(wire.FarDevice); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(context.Context){d.neighbours, d.datagrams, d.unreachable} {
		step(context.Background())
	}
	if strings.Contains(l.String(), "+ ") || strings.Count(l.String(), "- ") != 6 {
		t.Errorf("%s", l)
	}
}

// TestSomebodyListens has somebody listen where nobody should.
func TestSomebodyListens(t *testing.T) {
	d, _ := prepare(t)
	server, err := d.kernels(unix.SOCK_DGRAM, 0, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer echo(server)()
	s, err := d.ours(0)
	if err != nil {
		t.Fatal(err)
	}
	err = refused(s, sockapi.Inet4(wire.FarAddr.Addr().As4(), discard))
	if err == nil || err.Error() != "somebody answered" {
		t.Errorf("got %v", err)
	}
}

func TestRunCanceled(t *testing.T) {
	lab.Need(t)
	lab.CheckLeaks(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l := &log{}
	report, err := Run(ctx, Config{Show: l})
	if !errors.Is(err, context.Canceled) || report == nil || report.OK || len(report.Steps) != 0 || l.Len() != 0 {
		t.Errorf("%+v, %v, %s", report, err, l)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCheckWhenInterrupted(t *testing.T) {
	l := &log{}
	d := &demo{Config: Config{Show: l}, interrupted: func() bool { return true }, report: &Report{}}
	d.step("one", "One")
	d.check(context.Canceled, "not told")
	d.check(nil, "told")
	if l.String() != "# One\n+ told\n" {
		t.Errorf("%s", l)
	}
}

func TestPattern(t *testing.T) {
	big := pattern(maxPayload)
	const fragment = 1480
	for at := 0; at+2*fragment <= len(big); at += fragment {
		if bytes.Equal(big[at:at+fragment], big[at+fragment:at+2*fragment]) {
			t.Errorf("fragments at %d and %d are the same", at, at+fragment)
		}
	}
	if bytes.Equal(pattern(1472), pattern(1473)[:1472]) {
		t.Error("two sizes begin alike")
	}
}

func TestCaptureCount(t *testing.T) {
	c, err := createCapture(filepath.Join(t.TempDir(), "kept.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := pipe.New(pipe.Options{})
	l, err := c.wrap(a)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 60)
	for range 3 {
		if err := l.Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(frame); err != nil {
		t.Fatal(err)
	}
	if n := l.Receive(make([]link.Frame, 8)); n != 1 {
		t.Errorf("received %d frames", n)
	}
	l.Release()
	l.Close()
	b.Close()
	path := c.file.Name()
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	got := Capture{File: path}
	if err := got.read(); err != nil || got.In != 1 || got.Out != 3 || got.Frames != 4 || got.Bytes == 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCaptureUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := (&Capture{File: path}).read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("no capture at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := count(path, replay.Any); err == nil {
		t.Error("taken for a capture")
	}
	if _, err := createCapture(path + "/x"); err == nil {
		t.Error("created below a file")
	}
}
