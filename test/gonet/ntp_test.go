package gonet

import (
	"encoding/binary"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/beevik/ntp"

	"github.com/outband/outband/test/lab"
)

// runNTP has a client of beevik/ntp ask for the time.
func runNTP(t *testing.T, w *world, client, server *host) {
	go tellTime(server.listen(t, 123))
	w.rounds(t, func(int) {
		for range 50 {
			r := askTime(t, client, server)
			if off := r.ClockOffset.Abs(); off > 10*time.Second || r.Stratum != 1 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// askTime asks a server for the time, as often as it takes.
func askTime(t *testing.T, client, server *host) *ntp.Response {
	t.Helper()
	dial := func(_, _ string) (net.Conn, error) { return client.DialUDP("udp4", nil, server.port(123)) }
	for end := time.Now().Add(patience); ; {
		r, err := ntp.QueryWithOptions(server.addr.String(), ntp.QueryOptions{Timeout: 200 * time.Millisecond, Dialer: dial})
		if e, ok := err.(net.Error); ok && e.Timeout() && time.Now().Before(end) {
			continue
		}
		check(t, err)
		check(t, r.Validate())
		return r
	}
}

// tellTime answers what asks for the time (RFC 5905, section 7.3) until c is closed.
func tellTime(c net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if n < 48 {
			continue
		}
		const since1900 = 2208988800
		now := time.Now()
		stamp := uint64(now.Unix()+since1900)<<32 | uint64(now.Nanosecond())<<32/1e9
		r := make([]byte, 48)
		r[0], r[1], r[2], r[3] = b[0]&(7<<3)|4, 1, b[2], 0xec // a server's, of the client's version; stratum 1; 2^-20 s
		copy(r[12:], "GPS")
		binary.BigEndian.PutUint64(r[16:], stamp)
		copy(r[24:32], b[40:48])
		binary.BigEndian.PutUint64(r[32:], stamp)
		binary.BigEndian.PutUint64(r[40:], stamp)
		_, _ = c.WriteTo(r, from)
	}
}

// runChronyd asks chronyd, which tells the time of its host's clock.
func runChronyd(t *testing.T, w *world, client, server *host) {
	dir := t.TempDir()
	lab.Start(t, server.at.Namespace, lab.NeedProgram(t, "/usr/sbin/chronyd"), "-d", "-x", "-u", "root",
		"local stratum 10", "allow all", "cmdport 0", "bindcmdaddress /", "pidfile "+filepath.Join(dir, "pid"))
	await(t, func() error {
		_, err := ntp.QueryWithOptions(server.addr.String(), ntp.QueryOptions{Timeout: 50 * time.Millisecond,
			Dialer: func(_, _ string) (net.Conn, error) { return client.DialUDP("udp4", nil, server.port(123)) }})
		return err
	})
	w.rounds(t, func(int) {
		for range 20 {
			if r := askTime(t, client, server); r.ClockOffset.Abs() > time.Second {
				t.Errorf("%+v", r)
			}
		}
	})
}

// runChronydAsks has chronyd ask for the time, once. It sets no clock.
func runChronydAsks(t *testing.T, w *world, client, server *host) {
	go tellTime(server.listen(t, 123))
	path := lab.NeedProgram(t, "/usr/sbin/chronyd")
	w.rounds(t, func(int) {
		var out []byte
		await(t, func() (err error) {
			cmd := exec.Command(path, "-Q", "-t", "5", "-u", "root", "pidfile "+filepath.Join(t.TempDir(), "pid"), "cmdport 0",
				"server "+server.addr.String()+" iburst maxsamples 2")
			err = client.at.Do(func() error { out, err = cmd.CombinedOutput(); return err })
			return err
		})
		if !regexp.MustCompile(`System clock wrong by -?0\.`).Match(out) {
			t.Errorf("%s", out)
		}
	})
}
