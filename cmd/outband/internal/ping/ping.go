// Package ping sends ICMP echo requests and reports the replies in the words of
// ping(8) from iputils, so that eyes and scripts carry over. It works on any
// [Conn], reads the time from a clock that tests replace, and starts no
// goroutine.
package ping

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
)

// A Conn is a ping socket (icmp(7), "Ping sockets") connected to the
// destination: it fills in identifier and checksum, and receives echo replies
// alone.
type Conn interface {
	// Send sends an ICMP message: header and data.
	Send(message []byte) error
	// Recv waits for a message at most the given time. The error is unix.EAGAIN
	// when the time is over, and another errno for an ICMP error that came instead
	// of a reply.
	Recv(buf []byte, within time.Duration) (Message, error)
	// MTU returns the MTU of the path in bytes, 0 if it is not known.
	MTU() int
}

// A Message is what is known of a received message.
type Message struct {
	Len     int
	TTL     int          // with which it came; 0: not known
	From    netip.Addr   // the zero Addr: not known
	Options ipv4.Options // of its IP header
}

// The lengths of headers in bytes.
const (
	icmpHeader = 8
	ipHeader   = 20
)

// MaxSize is the most data that an echo request carries.
const MaxSize = 65535 - ipHeader - icmpHeader

// ICMP message types (RFC 792).
const (
	echoRequest = 8
	echoReply   = 0
)

// A Config says what to send and what to print.
type Config struct {
	Name     string     // the destination as the user wrote it
	Addr     netip.Addr // the destination
	Local    netip.Addr // our own address, which reports what we find out ourselves
	From     string     // "ADDRESS DEVICE" to name in the first line; "" names none
	Count    int        // -c: requests to send; 0: no limit
	Interval time.Duration
	Linger   time.Duration // -W: how long to wait for the last reply if there was none at all
	Deadline time.Duration // -w: when to end; 0: no limit
	Size     int           // -s: bytes of data
	Pattern  []byte        // -p: what the data repeats; empty: the bytes 0, 1, 2, ...
	Options  int           // bytes of IP options that each request has
	Preload  int           // -l: requests that may be under way before a reply is waited for; 0: 1
	Flood    bool          // -f: print a dot for each request and wipe one for each reply
	Adaptive bool          // -A: the interval follows the round-trip time
	Shortest time.Duration // the interval that -A does not go below
	Verbose  bool          // -v: say what comes beside replies
	Quiet    bool          // -q: print the first and the last lines only
	Stamps   bool          // -D: print the time before each line
	Waiting  bool          // -O: say when the next request goes out and no reply to the last has come
	Now      func() time.Time
}

// slice bounds a wait, so that a signal is noticed soon.
const slice = 100 * time.Millisecond

// A run is a Config at work.
type run struct {
	Config
	conn   Conn
	out    io.Writer
	start  time.Time
	stats  Stats
	sent   [1 << 16]time.Time // by sequence number
	got    [1 << 16]bool      // by sequence number: has been answered
	failed [1 << 16]bool      // by sequence number: an error came for it
	last   time.Time          // when the last request went out
	slot   time.Time          // when it was to go out, by the interval
	acked  uint16             // the highest sequence number that came back
	route  ipv4.Options       // the last route that was printed
	buf    []byte
	status <-chan struct{}
	errOut io.Writer
}

// Run pings until the count, the deadline or ctx ends it, and prints to out as
// it goes, except for the closing statistics: see [Stats.Print]. Each value from
// status makes it print a running summary to errOut. An error means that it
// could not go on, and comes with the Stats up to there; that a host does not
// answer is no error.
func Run(ctx context.Context, c Config, conn Conn, out, errOut io.Writer, status <-chan struct{}) (*Stats, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &run{Config: c, conn: conn, out: out, errOut: errOut, status: status, buf: make([]byte, MaxSize+icmpHeader)}
	r.start = c.Now()
	r.Preload = max(c.Preload, 1)
	r.stats = Stats{Name: c.Name, Replies: []Reply{}, gap: c.Flood || c.Adaptive || c.Interval == 0}
	from := ""
	if c.From != "" {
		from = " from " + c.From + ":"
	}
	if len(c.Pattern) > 0 {
		fmt.Fprintf(out, "PATTERN: 0x%x\n", c.Pattern)
	}
	fmt.Fprintf(out, "PING %s (%s)%s %d(%d) bytes of data.\n", c.Name, c.Addr, from, c.Size, c.Size+icmpHeader+ipHeader+c.Options)
	err := r.loop(ctx)
	r.stats.Elapsed = r.Now().Sub(r.start)
	return &r.stats, err
}

func (r *run) loop(ctx context.Context) error {
	r.slot = r.start.Add(-time.Duration(r.Preload) * r.Interval)
	for {
		now := r.Now()
		switch {
		case ctx.Err() != nil, r.over(now):
			return nil
		case r.maySend() && !now.Before(r.due()):
			r.sayWaiting()
			if err := r.send(now); err != nil {
				return err
			}
			r.slot = r.slot.Add(r.Interval)
			burst := time.Duration(r.Preload-1) * r.Interval
			if r.slot.Add(r.Interval).Before(now.Add(-burst)) {
				r.slot = now.Add(-burst) // too slow for the interval: no burst to catch up
			}
			if r.underWay() < r.Preload {
				continue
			}
		}
		select {
		case <-r.status:
			r.stats.printRunning(r.errOut)
		default:
		}
		if err := r.receive(r.wait(now, r.due())); err != nil {
			return err
		}
	}
}

// idle is how long an unlimited flood waits for what does not come back.
const idle = 10 * time.Millisecond

// due returns when the next request is: without an interval as soon as fewer than
// the preload are under way, or 100 times a second.
func (r *run) due() time.Time {
	if r.Interval > 0 || r.underWay() < r.Preload {
		return r.slot.Add(r.Interval)
	}
	return r.last.Add(idle)
}

// underWay is how many requests have gone out since the last that came back.
func (r *run) underWay() int { return int(uint16(r.stats.Transmitted) - r.acked) }

// maySend reports whether a request is left to send. With a deadline, the count
// is of replies, and requests go on.
func (r *run) maySend() bool {
	return r.Count == 0 || r.stats.Transmitted < r.Count || r.Deadline > 0
}

// over reports whether it is time to end.
func (r *run) over(now time.Time) bool {
	switch {
	case r.Count > 0 && r.stats.Received+r.stats.Errors >= r.Count:
		return true
	case r.Deadline > 0:
		return r.stats.Errors > 0 || now.Sub(r.start) >= r.Deadline
	}
	return !r.maySend() && now.Sub(r.last) >= r.linger()
}

// linger is how long to wait after the last request: twice the longest round
// trip and at least an interval, or -W if nothing has come at all.
func (r *run) linger() time.Duration {
	if r.stats.Received == 0 {
		return r.Linger
	}
	return max(2*r.stats.max, r.Interval)
}

// wait is how long to wait for a reply now.
func (r *run) wait(now, next time.Time) time.Duration {
	until := slice
	if r.maySend() {
		until = min(until, next.Sub(now))
	} else {
		until = min(until, r.last.Add(r.linger()).Sub(now))
	}
	if r.Deadline > 0 {
		until = min(until, r.start.Add(r.Deadline).Sub(now))
	}
	return max(until, time.Microsecond)
}

// sayWaiting says that the last request has no reply yet, if -O asks for it.
func (r *run) sayWaiting() {
	if seq := uint16(r.stats.Transmitted); r.Waiting && r.stats.Transmitted > 0 && !r.got[seq] {
		r.line("no answer yet for icmp_seq=%d\n", seq)
	}
}

func (r *run) send(now time.Time) error {
	seq := uint16(r.stats.Transmitted + 1)
	message := r.buf[:icmpHeader+r.Size]
	clear(message[:icmpHeader])
	message[0] = echoRequest
	binary.BigEndian.PutUint16(message[6:], seq)
	for i := range r.Size {
		message[icmpHeader+i] = r.datum(i)
	}
	r.got[seq], r.failed[seq] = false, false
	r.sent[seq], r.last = now, now
	r.stats.Transmitted++
	err := r.conn.Send(message)
	switch {
	case err == nil:
		r.dot(".")
		return nil
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil // it is lost, as on a wire
	case errors.Is(err, unix.EMSGSIZE):
		r.tooLong(seq)
		return nil
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENETDOWN):
		r.notSent(seq, err)
		return nil
	case unreachable(err) != "":
		r.unreachable(seq, err)
		return nil
	}
	return err
}

// notSent says that a request did not leave this host: its device is down, or away. It
// counts as sent, as with ping(8).
func (r *run) notSent(seq uint16, err error) {
	r.failed[seq] = true
	r.acknowledge(seq)
	if r.Flood {
		r.dot("E")
		return
	}
	if r.Quiet {
		return
	}
	text := err.Error()
	if errno := unix.Errno(0); errors.As(err, &errno) {
		text = errno.Error()
	}
	fmt.Fprintf(r.errOut, "ping: sendmsg: %s\n", strings.ToUpper(text[:1])+text[1:])
}

// receive takes one message, or waits in vain.
func (r *run) receive(within time.Duration) error {
	m, err := r.conn.Recv(r.buf, within)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case unreachable(err) != "":
		r.refused(err)
		return nil
	case err != nil:
		return err
	case m.Len < icmpHeader || r.buf[0] != echoReply:
		if r.Verbose && m.Len > 1 {
			fmt.Fprintf(r.errOut, "%d bytes from %s: ICMP type %d, code %d\n", m.Len, m.From, r.buf[0], r.buf[1])
		}
		return nil
	}
	r.reply(r.buf[:m.Len], m)
	return nil
}

// datum is byte i of a request's data.
func (r *run) datum(i int) byte {
	if len(r.Pattern) == 0 {
		return byte(i)
	}
	return r.Pattern[i%len(r.Pattern)]
}

// acknowledge notes that the answer to a request has come, whatever it is.
func (r *run) acknowledge(seq uint16) {
	sent := uint16(r.stats.Transmitted)
	if under := sent - seq; under <= 0x7fff {
		r.stats.pipe = max(r.stats.pipe, int(under)+1)
		if int16(seq-r.acked) > 0 || sent-r.acked > 0x7fff {
			r.acked = seq
		}
	}
}

// dot shows a flood on the terminal.
func (r *run) dot(text string) {
	if r.Flood && !r.Quiet {
		io.WriteString(r.out, text)
	}
}

func (r *run) reply(message []byte, m Message) {
	seq := binary.BigEndian.Uint16(message[6:])
	if r.sent[seq].IsZero() {
		return // to a request that was never sent
	}
	reply := Reply{Seq: int(seq), Bytes: len(message), TTL: m.TTL, RTT: r.Now().Sub(r.sent[seq]), Duplicate: r.got[seq]}
	r.got[seq] = true
	r.stats.add(reply)
	r.acknowledge(seq)
	r.adapt()
	if r.Flood {
		r.dot("\b \b")
		return
	}
	from := r.Addr
	if m.From.IsValid() {
		from = m.From // one of many, if the destination is a group
	}
	text := fmt.Sprintf("%d bytes from %s: icmp_seq=%d", reply.Bytes, from, seq)
	if m.TTL > 0 {
		text += fmt.Sprintf(" ttl=%d", m.TTL)
	}
	text += " time=" + milliseconds(reply.RTT) + " ms"
	if reply.Duplicate {
		text += " (DUP!)"
	}
	if wrong := r.firstDifference(message[icmpHeader:]); wrong >= 0 {
		text += fmt.Sprintf("\nwrong data byte #%d should be 0x%x but was 0x%x", wrong, r.datum(wrong), message[icmpHeader+wrong])
	}
	r.line("%s%s\n", text, r.recorded(m.Options))
}

// adapt has the interval follow the round-trip time, in whole milliseconds, if -A
// asks for it.
func (r *run) adapt() {
	if r.Adaptive {
		r.Interval = max(time.Duration(r.stats.smoothed).Round(time.Millisecond), r.Shortest)
	}
}

// firstDifference returns where the data is not what send wrote, or -1.
func (r *run) firstDifference(data []byte) int {
	for i, b := range data {
		if b != r.datum(i) {
			return i
		}
	}
	return -1
}

// resolution is how long requests wait for a neighbour that does not answer ARP:
// three times a second (RFC 4861's values, which Linux takes for ARP too), and
// some for a machine that is busy.
const resolution = 3500 * time.Millisecond

// refused takes an error that came instead of replies. A socket has one for all
// requests that waited for the same neighbour, so it is the error of each one
// that neither has an answer nor was lost before.
func (r *run) refused(err error) {
	last := r.stats.Transmitted
	first := last
	for errors.Is(err, unix.EHOSTUNREACH) && first > 1 && r.open(uint16(first-1)) {
		first--
	}
	for seq := first; seq <= last; seq++ {
		r.unreachable(uint16(seq), err)
	}
}

// open reports whether a request may still be waiting for its neighbour.
func (r *run) open(seq uint16) bool {
	return !r.got[seq] && !r.failed[seq] && r.Now().Sub(r.sent[seq]) <= resolution
}

func (r *run) unreachable(seq uint16, err error) {
	r.stats.Errors++
	r.failed[seq] = true
	r.acknowledge(seq)
	// A socket's errno does not say whose ICMP error it was. Ports and
	// protocols are the destination's to refuse; that a host or a network is
	// out of reach, our own stack says most of the time.
	from := r.Addr
	if r.Local.IsValid() && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOPROTOOPT) {
		from = r.Local
	}
	text := unreachable(err)
	if errors.Is(err, unix.EMSGSIZE) {
		text = fmt.Sprintf("%s (mtu = %d)", text, r.conn.MTU())
		from = r.Addr // a router's, whose address the errno does not tell
	}
	if r.Flood {
		r.dot("\bE")
		return
	}
	r.line("From %s icmp_seq=%d %s\n", from, seq, text)
}

// tooLong says that a request is longer than may leave in one piece.
func (r *run) tooLong(seq uint16) {
	r.stats.Errors++
	r.failed[seq] = true
	r.acknowledge(seq)
	if r.Flood {
		r.dot("E")
		return
	}
	r.line("ping: local error: message too long, mtu=%d\n", r.conn.MTU())
}

// unreachable words the errnos that ICMP errors turn into as ping(8) words the
// errors themselves; "" for any other.
func unreachable(err error) string {
	switch {
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EHOSTDOWN):
		return "Destination Host Unreachable"
	case errors.Is(err, unix.ENETUNREACH):
		return "Destination Net Unreachable"
	case errors.Is(err, unix.ECONNREFUSED):
		return "Destination Port Unreachable"
	case errors.Is(err, unix.ENOPROTOOPT):
		return "Destination Protocol Unreachable"
	case errors.Is(err, unix.EMSGSIZE):
		return "Frag needed and DF set"
	}
	return ""
}

// line prints one line about one request.
func (r *run) line(format string, args ...any) {
	if r.Quiet {
		return
	}
	if r.Stamps {
		now := r.Now()
		fmt.Fprintf(r.out, "[%d.%06d] ", now.Unix(), now.Nanosecond()/1000)
	}
	fmt.Fprintf(r.out, format, args...)
}
