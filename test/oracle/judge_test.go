package oracle

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name        string
		linux, ours []string
		want        string
	}{
		{"equal", []string{"a", "b"}, []string{"a", "b"}, ""},
		{"both empty", nil, nil, ""},
		{"a line differs", []string{"a", "b"}, []string{"a", "c"}, "          a\n  Linux:  b\n  ours:   c\n"},
		{"ours ends early", []string{"a"}, nil, "  Linux:  a\n  ours:   (nothing)\n"},
		{"ours goes on", nil, []string{"a"}, "  Linux:  (nothing)\n  ours:   a\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Diff(tt.linux, tt.ours); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

func TestCaseWithin(t *testing.T) {
	c := &Case{Name: "option/SO_MARK/set 1"}
	for name, want := range map[string]bool{"option": true, "option/SO_MARK": true, "option/SO_MARK/set 1": true,
		"option/SO_MAR": false, "option/SO_MARK/set": false, "SO_MARK": false, "option/SO_MARK/set 1/x": false} {
		if c.within(name) != want {
			t.Errorf("within(%q) is %t", name, !want)
		}
	}
	list := []Difference{{"option/SO_MARK2", ""}, {"option/SO_MARK", ""}}
	if got := find(list, c); got != 1 {
		t.Errorf("find: %d", got)
	}
	if got := find(list[:1], c); got != -1 {
		t.Errorf("find in a list without it: %d", got)
	}
}

// TestLists holds the lists to what the table of differences in README needs.
func TestLists(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range slices.Concat(Deliberate, Pending) {
		switch {
		case seen[d.Cases]:
			t.Errorf("%q is there twice", d.Cases)
		case d.Cases == "" || d.Reason == "":
			t.Errorf("%q: %q is not an entry", d.Cases, d.Reason)
		case strings.ContainsAny(d.Cases+d.Reason, "|\n"):
			t.Errorf("%q: %q does not fit a row of a table", d.Cases, d.Reason)
		}
		seen[d.Cases] = true
	}
}

// TestJudgeNotices has the judge compare a world with another in which one call
// differs.
func TestJudgeNotices(t *testing.T) {
	j := &Judge{Linux: NewStage(t, NewInBand(t)), Ours: NewStage(t, NewPipe(t))}
	honest := func(r *Run) {
		a, b := r.Pair()
		a.Send([]byte("hello"), 0)
		r.Sync()
		b.Recvmsg(0, 0, 3)
	}
	for _, top := range []Topology{Wire, Loopback, Own} {
		if diff := j.Compare(top, honest, true); diff != "" {
			t.Errorf("%s:\n%s", top.Name, diff)
		}
		diff := j.Compare(top, func(r *Run) {
			honest(r)
			r.Logf("%s", r.World.Name())
		}, true)
		if !strings.Contains(diff, "  Linux:  Linux\n  ours:   ours over a pipe\n") {
			t.Errorf("%s: the difference is told as\n%s", top.Name, diff)
		}
	}
	if len(j.Unsteady) != 0 || j.Calls != 6 {
		t.Errorf("%d calls, unsteady: %q", j.Calls, j.Unsteady)
	}
}

func TestBoundedCalls(t *testing.T) {
	s := NewStage(t, NewPipe(t))
	log := s.Play(Loopback, func(r *Run) {
		a := r.UDP("a")
		w := a.Later("recv", func(s *sockapi.Socket) string {
			_, err := s.Recv(nil, 0)
			return errnoName(err)
		})
		a.Close()
		w.Join()
		none := r.Open("none", Near, 99, 99, 0)
		none.Bind(r.Near(1))
		none.Later("recv", nil).Join()
	})
	want := []string{"a.close() = ok", "a.recv = EBADF", "none = socket(99, SOCK_RAW|0x60, 0): EINVAL", "none.recv = no socket"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
}

func TestControlText(t *testing.T) {
	r := &Run{ports: make(map[uint16]string)}
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"none", nil, "{}"},
		{"one", CmsgInt(unix.SOL_IP, unix.IP_TTL, 64), "{IP_TTL=40000000}"},
		{"two", append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 1), Cmsg(unix.SOL_IP, unix.IP_TOS, []byte{4})...), "{IP_TTL=01000000, IP_TOS=04}"},
		{"cut", CmsgInt(unix.SOL_IP, unix.IP_TTL, 64)[:18], "{IP_TTL=4000}"},
		{"rest", append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 64), 1), "{IP_TTL=40000000, 1 bytes}"},
		{"bad length", make([]byte, 16), "{bad length 0}"},
		{"no time", Cmsg(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, make([]byte, 16)), "{SCM_TIMESTAMPNS=zero}"},
		{"unknown", CmsgInt(77, 3, 1), "{77.3=01000000}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Control(r, tt.b); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	r := &Run{ports: make(map[uint16]string)}
	for _, tt := range []struct{ got, want string }{
		{flagNames(0), "0"},
		{flagNames(unix.MSG_PEEK | unix.MSG_TRUNC), "PEEK|TRUNC"},
		{flagNames(unix.MSG_PEEK | 1<<25), "PEEK|0x2000000"},
		{events(unix.POLLIN | unix.POLLERR), "IN|ERR"},
		{OptionName(unix.SOL_IP, unix.IP_TTL), "IP_TTL"},
		{OptionName(unix.SOL_TCP, 1), "SOL_TCP.1"},
		{errnoName(nil), "ok"},
		{errnoName(unix.EMSGSIZE), "EMSGSIZE"},
		{errnoName(unix.Errno(4000)), "errno 4000"},
		{r.port(40000) + r.port(50000) + r.port(40000) + r.port(7001), "port1port2port17001"},
		{show(Data(3)), `"abc"`},
	} {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

func TestShorten(t *testing.T) {
	q := NewSequence(rand.New(rand.NewPCG(1, 2)), 30)
	if again := NewSequence(rand.New(rand.NewPCG(1, 2)), 30); again.String() != q.String() {
		t.Error("one seed, two sequences")
	}
	// What differs is when these two are still there, in this order.
	first, second := q[7], q[21]
	short := q.Shorten(func(q Sequence) bool {
		i, j := slices.Index(q, first), slices.Index(q, second)
		return i >= 0 && j > i
	})
	if !slices.Equal(short, Sequence{first, second}) {
		t.Errorf("shortened to %s", short)
	}
}
