package cli

import (
	"bytes"
	"strings"
	"testing"
)

// TestRunRefuses gives run what it cannot do: it says why, and runs nothing.
func TestRunRefuses(t *testing.T) {
	t.Setenv("OUTBAND_LIB", t.TempDir())
	for _, c := range []struct {
		want string
		args []string
	}{
		{"requires at least 1 arg", nil},
		{"there is no port 0", []string{"--dev", "lo", "--only", "0", "--", "true"}},
		{"none of again, inband, fail", []string{"--dev", "lo", "--fork", "never", "--", "true"}},
		{"--gateway is for an address of our own", []string{"--dev", "lo", "--gateway", "10.0.0.1", "--", "true"}},
		{"--addr", []string{"--dev", "lo", "--addr", "everywhere", "--", "true"}},
		{"nosuchprogram", []string{"--dev", "lo", "--", "nosuchprogram"}},
		{"is a Go program", []string{"--dev", "lo", "--", "/proc/self/exe"}},
		{"shim/build of the source makes them", []string{"--dev", "lo", "--", "true"}},
	} {
		var out, complaints bytes.Buffer
		code := Main(append([]string{"run"}, c.args...), strings.NewReader(""), &out, &complaints)
		if code != ExitFailed || !strings.Contains(complaints.String(), c.want) {
			t.Errorf("%q: exit code %d, %q; want %q", c.args, code, complaints.String(), c.want)
		}
	}
}
