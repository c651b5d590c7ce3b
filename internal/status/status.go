// Package status has a process answer, on a unix socket, what it is doing, and asks all
// that do. The sockets' names are abstract (unix(7)): they belong to a network namespace,
// take no file, and go with the process. Only the process's own user and root get an answer.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the names of all sockets; the process and a number follow.
const prefix = "@outband/"

// Bounds of what one side takes of the other.
const (
	patience  = time.Second // for an answer
	maxAnswer = 16 << 20    // bytes of one
)

// A Server answers.
type Server struct {
	listener *net.UnixListener
	done     chan struct{}
}

// served numbers the servers of the process.
var served atomic.Uint32

// Serve answers with what get returns, as JSON, in the calling thread's network namespace,
// until Close. get is called by one goroutine at a time.
func Serve(get func() any) (*Server, error) {
	name := fmt.Sprintf("%s%d/%d", prefix, os.Getpid(), served.Add(1))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	s := &Server{l, make(chan struct{})}
	go s.serve(get)
	return s, nil
}

// serve answers one after the other: none can hold it up for long.
func (s *Server) serve(get func() any) {
	defer close(s.done)
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, as a rule
			time.Sleep(patience)
			continue
		}
		answer(c, get)
		c.Close()
	}
}

// answer writes an answer, if the other side may have it.
func answer(c *net.UnixConn, get func() any) {
	peer, err := credentials(c)
	if err != nil || peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return
	}
	if c.SetDeadline(time.Now().Add(patience)) != nil {
		return
	}
	json.NewEncoder(c).Encode(get()) // who has gone does not miss it
}

// Close ends answering.
func (s *Server) Close() {
	s.listener.Close()
	<-s.done
}

// credentials returns who is at the other end (SO_PEERCRED in unix(7)).
func credentials(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	control := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(control, err)
}

// An Answer is what a process says.
type Answer struct {
	PID  int // as the kernel knows it
	UID  int
	Body json.RawMessage // nil if Err
	Err  error           // why there is none: it hangs, it has gone, or it is another user's
}

// Ask asks all processes that answer in the calling thread's network namespace, in the
// order of their numbers.
func Ask() ([]Answer, error) {
	names, err := names()
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, 0, len(names))
	for _, name := range names {
		answers = append(answers, ask(name))
	}
	return answers, nil
}

// names returns the sockets that there are.
func names() ([]string, error) {
	b, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if name := fields[len(fields)-1]; strings.HasPrefix(name, prefix) && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return processOf(a) - processOf(b) })
	return all, nil
}

// processOf returns the process that a name says it is of, 0 if it says none.
func processOf(name string) int {
	pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "/")
	n, err := strconv.Atoi(pid)
	if err != nil {
		return 0
	}
	return n
}

// ask asks one.
func ask(name string) Answer {
	a := Answer{PID: processOf(name)}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		a.Err = err
		return a
	}
	defer c.Close()
	peer, err := credentials(c)
	if err == nil {
		a.PID, a.UID = int(peer.Pid), int(peer.Uid)
		err = c.SetDeadline(time.Now().Add(patience))
	}
	if err == nil {
		a.Body, err = io.ReadAll(io.LimitReader(c, maxAnswer))
	}
	switch {
	case err != nil:
		a.Body, a.Err = nil, err
	case len(a.Body) == 0:
		a.Body, a.Err = nil, unix.EPERM
	case !json.Valid(a.Body):
		a.Body, a.Err = nil, errors.New("the answer is cut short")
	}
	return a
}
