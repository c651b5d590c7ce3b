package gonet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cactus/go-statsd-client/v5/statsd"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/outband/outband/test/lab"
)

// lines is how many datagrams a receiver is sent as fast as they can be: as many as fit into its
// buffer, so that none is lost if it does not get the CPU for a while.
const lines = 4000

// A tally is what has come to a receiver.
type tally struct {
	sent chan struct{} // closed when all has been
	came chan int      // how many different lines, at the end
}

// receive counts what comes until all has been sent, and nothing has come for a while: each line
// once, if read says that it is whole.
func receive(t *testing.T, c udpConn, read func(line string) (key string, ok bool)) *tally {
	t.Helper()
	check(t, c.SetReadBuffer(4<<20))
	r := &tally{make(chan struct{}), make(chan int, 1)}
	go func() {
		seen := make(map[string]bool)
		b := make([]byte, 2048)
		for silent := 0; silent < 3; {
			c.SetReadDeadline(time.Now().Add(quiet))
			n, _, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				select {
				case <-r.sent:
					silent++
				default:
				}
				continue
			}
			silent = 0
			if key, ok := read(string(b[:n])); ok {
				seen[key] = true
			} else {
				t.Errorf("%q", b[:n])
			}
		}
		r.came <- len(seen)
	}()
	return r
}

// end returns how many have come.
func (r *tally) end() int {
	close(r.sent)
	return <-r.came
}

// quiet is for how long nothing may come, three times, when all has been sent.
const quiet = 100 * time.Millisecond

// runStatsD sends counters by a client of StatsD as fast as it can.
func runStatsD(t *testing.T, w *world, client, server *host) {
	meet(t, client, server)
	want := 0
	r := receive(t, server.listen(t, 8125), func(line string) (string, bool) {
		name, ok := strings.CutSuffix(line, ":1|c")
		return name, ok && strings.HasPrefix(name, "test.")
	})
	conn := client.dial(t, server.port(8125))
	c, err := statsd.NewClientWithSender(sender{conn}, "test", 0)
	check(t, err)
	w.rounds(t, func(round int) {
		for i := range lines / 2 {
			err := c.Inc(fmt.Sprint(round, ".", i), 1, 1)
			if w.trouble != flap {
				check(t, err)
			}
			want++
		}
	})
	came(t, w, r.end(), want)
}

// meet has two hosts find each other by ARP: of what is sent at once before that, some is lost.
func meet(t *testing.T, client, server *host) {
	t.Helper()
	there, here := server.listen(t, 9), client.dial(t, server.port(9))
	go func() {
		for b := make([]byte, 1); ; {
			_, from, err := there.ReadFrom(b)
			if err != nil {
				return
			}
			there.WriteTo(b, from)
		}
	}()
	await(t, func() error {
		if _, err := here.Write([]byte{1}); err != nil {
			return err
		}
		if err := here.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return err
		}
		_, err := here.Read(make([]byte, 1))
		return err
	})
}

// A sender is a connection as the client of StatsD wants it.
type sender struct{ net.Conn }

func (s sender) Send(b []byte) (int, error) { return s.Write(b) }

// came complains if less has come than the wire lets through.
func came(t *testing.T, w *world, got, want int) {
	t.Helper()
	least := map[trouble]int{none: want, bad: want * 95 / 100, flap: 1}[w.trouble]
	if got < least || got > want {
		t.Errorf("%d of %d have come", got, want)
	}
}

// runSyslog has logger(1) send messages of RFC 5424 as fast as it can.
func runSyslog(t *testing.T, w *world, client, server *host) {
	meet(t, client, server)
	parser := rfc5424.NewParser()
	r := receive(t, server.listen(t, 514), func(line string) (string, bool) {
		m, err := parser.Parse([]byte(line))
		if err != nil {
			return err.Error(), false
		}
		return *m.(*rfc5424.SyslogMessage).Message, true
	})
	want := 0
	logger := lab.NeedProgram(t, "logger")
	file := filepath.Join(t.TempDir(), "messages")
	w.rounds(t, func(round int) {
		var b strings.Builder
		for i := range lines / 4 {
			fmt.Fprintf(&b, "message %d of round %d\n", i, round)
			want++
		}
		check(t, os.WriteFile(file, []byte(b.String()), 0o644))
		lab.Output(t, client.at.Namespace, logger, "--server", server.addr.String(), "--udp", "--port", "514", "--rfc5424", "--file", file)
	})
	came(t, w, r.end(), want)
}
