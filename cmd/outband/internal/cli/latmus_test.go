package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

// TestLatmus has two processes measure each other.
func TestLatmus(t *testing.T) {
	l := lab.New(t, lab.Config{})
	plot := filepath.Join(t.TempDir(), "plot")
	near := start(t, l.Near().Namespace, nil, "latmus", "-L", "near0", "--addr", "10.9.0.1/24", "-E", "10.9.0.2",
		"-p", "2000", "-T", "3s", "-H", "500", "-g", plot, "-K", "-v", "--stat")
	far := start(t, l.Far().Namespace, nil, "latmus", "-L", "far0", "--addr", "10.9.0.2/24", "-E", "10.9.0.1",
		"-p", "2ms", "-S", "21", "-T", "3", "-K", "--json")
	near.end(ExitOK, "*", "*")
	far.end(ExitOK, "*", "*")
	number := ` *\d+\.\d{3}`
	for _, want := range []string{
		`(?m)^RTT\|  00:00:01  \(net, 2000 us period, priority 0, any CPU\)\nRTH\|--rx sched\|`,
		`(?m)^RTD(\|` + number + `){4}\| *\d+\| *\d+(\|` + number + `){4}$`,
		`(?m)^RTS(\|` + number + `){4}\| *\d+\| *\d+\|    00:00:0\d/00:00:03$`,
		`(?m)^# ---- RX delivery latency histogram, us, \d+ packets\nRTX\|`,
		`(?m)^UdpInDatagrams `,
	} {
		if !regexp.MustCompile(want).MatchString(near.out.String()) {
			t.Errorf("no %s in\n%s", want, near.out)
		}
	}
	if text, err := os.ReadFile(plot); err != nil || !strings.Contains(string(text), "# us rx_sched rx_user tx_sched tx_user\n0 ") {
		t.Errorf("plot: %v\n%s", err, text)
	}
	var got struct {
		Summary struct {
			Sent, Received, Lost, Wrong uint64
			RxUser                      struct {
				Count uint64
				Max   float64 `json:"max_us"`
			} `json:"rx_user"`
			TxUser struct {
				Count uint64
				Max   float64 `json:"max_us"`
			} `json:"tx_user"`
		}
	}
	if err := json.Unmarshal([]byte(far.out.String()), &got); err != nil {
		t.Fatalf("%v\n%s", err, far.out)
	}
	s := got.Summary
	if s.Sent < 100 || s.Received < 100 || s.Wrong > 0 || s.RxUser.Count == 0 || s.RxUser.Max <= 0 ||
		s.TxUser.Count < 100 || s.TxUser.Max <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestLatmusEndsBySignal(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	near := start(t, l.Near().Namespace, nil, "latmus", "-L", "near0", "--addr", "10.9.0.1/24", "-E", "10.9.0.2", "-l", "1")
	near.expect(near.out, "RTD|")
	near.signal(unix.SIGINT)
	near.end(ExitNo, "*", "outband: nothing came from 10.9.0.2\n")
}

func TestLatmusRefuses(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"no peer", "", `required flag(s) "peer" not set`},
		{"size", "-E 10.9.0.2 -S 20", "must be a number from 21 to 65507"},
		{"period", "-E 10.9.0.2 -p 9", "-p 9µs: must be 10us or more"},
		{"priority", "-E 10.9.0.2 -P 100", "must be a number from 0 to 99"},
		{"cells", "-E 10.9.0.2 -H -1", "must be a number from 1 to 1000000"},
		{"lines", "-E 10.9.0.2 -l 0", "must be a number from 1 to "},
		{"port", "-E 10.9.0.2 --port 0", "must be a number from 1 to 65535"},
		{"both", "-E 10.9.0.2 -q -v", "-q and -v do not go together"},
		{"time", "-E 10.9.0.2 -T soon", "neither seconds nor a duration"},
		{"no device", "-E 10.9.0.2 -T 1d", "needs a network device: --dev"},
	}
	for _, tt := range tests {
		code, out, err := run(append([]string{"latmus"}, strings.Fields(tt.args)...)...)
		if code != ExitFailed || out != "" || !strings.Contains(err, tt.want) {
			t.Errorf("%s: exit code %d\n%s%s", tt.name, code, out, err)
		}
	}
}

// TestLatmusTimeIsOfAll: neither waiting for the other host, nor a period, takes longer
// than -T.
func TestLatmusTimeIsOfAll(t *testing.T) {
	t.Parallel() // most of it is waiting
	_, near := half(t)
	near("latmus", "-E", "10.9.0.77", "-T", "0.3").end(ExitNo, "", "outband: 10.9.0.77 did not answer within 300ms\n")
	near("latmus", "-E", "10.9.0.2", "-T", "0.5", "-p", "1h").end(ExitNo, "*", "outband: nothing came from 10.9.0.2\n")
	near("latmus", "-E", "10.9.0.2", "-T", "0.1", "--probe", "1h").
		end(ExitNo, "", "outband: the time was over while asking whether somebody has 10.9.0.1\n")
}
