package sockapi

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// TestSocketDeadlines ends and prolongs waits.
func TestSocketDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := pipe.New(pipe.Options{})
		a := evlStack(t, near, "10.9.0.1/24")
		s := evlSocket(t, a, SOCK_OOB, nearIP)
		start := time.Now()
		check := func(what string, want time.Duration, err error) {
			t.Helper()
			if took := time.Since(start); err != unix.EAGAIN || took != want {
				t.Errorf("%s: %v after %v, want EAGAIN after %v", what, err, took, want)
			}
		}
		recv := func() error { _, err := s.Recv(make([]byte, 10), 0); return err }
		send := func() (err error) {
			for err == nil {
				_, err = s.Sendto(make([]byte, 1000), 0, Inet4(nobodyIP, 7))
			}
			return err
		}
		if err := s.SetWriteBuffer(1); err != nil {
			t.Fatal(err)
		}
		s.SetReadDeadline(start.Add(time.Millisecond))
		s.SetWriteDeadline(start.Add(2 * time.Millisecond))
		check("read", time.Millisecond, recv())
		check("write", 2*time.Millisecond, send())
		s.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Millisecond, func() { s.SetReadDeadline(start) })
		check("read that waits", 3*time.Millisecond, recv())
		s.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Millisecond, func() { s.SetWriteDeadlineAt(a.Deadline(start)) })
		check("write that waits", 4*time.Millisecond, send())
	})
}

func TestInbandDeadlines(t *testing.T) {
	s := evlSocket(t, newAPI(t), 0, localIP)
	if err := s.SetReadDeadline(time.Now()); err != unix.EOPNOTSUPP {
		t.Errorf("read: %v", err)
	}
	if err := s.SetWriteDeadline(time.Now()); err != unix.EOPNOTSUPP {
		t.Errorf("write: %v", err)
	}
	if a := s.API(); a.Deadline(time.Time{}) <= a.Deadline(time.Now().Add(time.Hour)) {
		t.Error("the zero time is not never")
	}
}
