package wire

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func TestNew(t *testing.T) {
	lab.Need(t)
	tests := []struct {
		name      string
		near, far bool
	}{{"bare", false, false}, {"half", false, true}, {"kernel", true, true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, err := New(tt.near, tt.far)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			for _, e := range []*End{w.Near, w.Far} {
				d, err := e.Namespace.Device(e.Device)
				if err != nil || !d.Running || d.MTU != 1500 {
					t.Errorf("%s: %+v, %v", e.Device, d, err)
				}
				addrs, err := e.Addresses(e.Device)
				if err != nil || (len(addrs) == 1) != e.Kernel {
					t.Errorf("%s: addresses %v, %v", e.Device, addrs, err)
				}
			}
			if w.Near.Kernel != tt.near || w.Far.Kernel != tt.far {
				t.Errorf("kernel at %t, %t", w.Near.Kernel, w.Far.Kernel)
			}
		})
	}
}

func TestStart(t *testing.T) {
	lab.Need(t)
	w, err := New(false, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var out strings.Builder
	cmd := exec.Command("readlink", "/proc/self/ns/net")
	cmd.Stdout = &out
	if err := w.Far.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var want string
	if err := w.Far.Do(func() (err error) { want, err = os.Readlink("/proc/thread-self/ns/net"); return err }); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("started in %s, the end is %s", got, want)
	}
}
