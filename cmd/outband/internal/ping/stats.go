package ping

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// A Reply is one echo reply.
type Reply struct {
	Seq       int           `json:"icmp_seq"`
	Bytes     int           `json:"bytes"` // of the ICMP message
	TTL       int           `json:"ttl,omitempty"`
	RTT       time.Duration `json:"rtt_ns"`
	Duplicate bool          `json:"duplicate,omitempty"`
}

// Stats are what came of a run.
type Stats struct {
	Name        string
	Transmitted int // requests
	Received    int // replies, each once
	Duplicates  int // replies again
	Errors      int // ICMP errors, and requests that could not leave
	Elapsed     time.Duration
	Replies     []Reply // the last keepReplies

	pipe int  // the most requests that were under way at once
	gap  bool // the time between requests is of interest: it was not the user's

	min, max     time.Duration
	sum, squares float64 // of all replies' round trips, in ns
	smoothed     float64 // the moving average, in ns, over about eight replies
}

// keepReplies bounds what a long run remembers.
const keepReplies = 1 << 16

func (s *Stats) add(r Reply) {
	if len(s.Replies) < keepReplies {
		s.Replies = append(s.Replies, r)
	}
	if r.Duplicate {
		s.Duplicates++
	} else {
		s.Received++
	}
	rtt := float64(r.RTT)
	if s.sum == 0 && s.min == 0 {
		s.min, s.smoothed = r.RTT, rtt
	}
	s.min, s.max = min(s.min, r.RTT), max(s.max, r.RTT)
	s.sum += rtt
	s.squares += rtt * rtt
	s.smoothed += (rtt - s.smoothed) / 8
}

// loss is the part of the requests without a reply, in per cent.
func (s *Stats) loss() float64 {
	if s.Transmitted == 0 {
		return 0
	}
	return float64(s.Transmitted-s.Received) * 100 / float64(s.Transmitted)
}

// mean and mdev are the round trips' average and standard deviation.
func (s *Stats) mean() time.Duration {
	if n := s.Received + s.Duplicates; n > 0 {
		return time.Duration(s.sum / float64(n))
	}
	return 0
}

func (s *Stats) mdev() time.Duration {
	n := float64(s.Received + s.Duplicates)
	if n == 0 {
		return 0
	}
	mean := s.sum / n
	return time.Duration(math.Sqrt(max(s.squares/n-mean*mean, 0)))
}

// Print writes the closing statistics.
func (s *Stats) Print(w io.Writer) {
	fmt.Fprintf(w, "\n--- %s ping statistics ---\n", s.Name)
	fmt.Fprintf(w, "%d packets transmitted, %d received", s.Transmitted, s.Received)
	if s.Duplicates > 0 {
		fmt.Fprintf(w, ", +%d duplicates", s.Duplicates)
	}
	if s.Errors > 0 {
		fmt.Fprintf(w, ", +%d errors", s.Errors)
	}
	if s.Transmitted > 0 {
		fmt.Fprintf(w, ", %.6g%% packet loss, time %dms", s.loss(), s.Elapsed.Milliseconds())
	}
	fmt.Fprintln(w)
	var parts []string
	if s.Received > 0 {
		parts = append(parts, s.RTT())
	}
	if s.pipe > 1 {
		parts = append(parts, fmt.Sprintf("pipe %d", s.pipe))
	}
	if s.Received > 0 && s.gap && s.Transmitted > 1 {
		parts = append(parts, fmt.Sprintf("ipg/ewma %s/%s ms", thousandths(s.Elapsed/time.Duration(s.Transmitted-1)),
			thousandths(time.Duration(s.smoothed))))
	}
	fmt.Fprintln(w, strings.Join(parts, ", "))
}

// RTT returns the closing line with the round-trip times. There must have been a
// reply.
func (s *Stats) RTT() string {
	return fmt.Sprintf("rtt min/avg/max/mdev = %s/%s/%s/%s ms", thousandths(s.min), thousandths(s.mean()), thousandths(s.max), thousandths(s.mdev()))
}

// printRunning writes the summary that SIGQUIT asks for.
func (s *Stats) printRunning(w io.Writer) {
	fmt.Fprintf(w, "\r%d/%d packets, %d%% loss", s.Received, s.Transmitted, int(s.loss()))
	if s.Received > 0 {
		fmt.Fprintf(w, ", min/avg/ewma/max = %s/%s/%s/%s ms", thousandths(s.min), thousandths(s.mean()),
			thousandths(time.Duration(s.smoothed)), thousandths(s.max))
	}
	fmt.Fprintln(w)
}

// Answered reports whether the run counts as a success by the rule of ping(8): a
// reply, and all of count if there is a deadline too.
func (s *Stats) Answered(c Config) bool {
	if c.Count > 0 && c.Deadline > 0 {
		return s.Received >= c.Count
	}
	return s.Received > 0
}

// MarshalJSON writes the statistics with the unit in each key.
func (s *Stats) MarshalJSON() ([]byte, error) {
	type rtt struct {
		Min  time.Duration `json:"min_ns"`
		Avg  time.Duration `json:"avg_ns"`
		Max  time.Duration `json:"max_ns"`
		Mdev time.Duration `json:"mdev_ns"`
	}
	var times *rtt
	if s.Received > 0 {
		times = &rtt{s.min, s.mean(), s.max, s.mdev()}
	}
	return json.Marshal(struct {
		Name        string        `json:"destination"`
		Transmitted int           `json:"transmitted"`
		Received    int           `json:"received"`
		Duplicates  int           `json:"duplicates"`
		Errors      int           `json:"errors"`
		Loss        float64       `json:"loss_percent"`
		Elapsed     time.Duration `json:"elapsed_ns"`
		RTT         *rtt          `json:"rtt"` // null without a reply
		Replies     []Reply       `json:"replies"`
	}{s.Name, s.Transmitted, s.Received, s.Duplicates, s.Errors, s.loss(), s.Elapsed, times, s.Replies})
}

// milliseconds writes a time with three digits of weight, as ping(8) does for
// single replies.
func milliseconds(d time.Duration) string {
	us := d.Microseconds()
	switch {
	case us >= 100000-50:
		return fmt.Sprintf("%d", (us+500)/1000)
	case us >= 10000-5:
		return fmt.Sprintf("%.1f", float64((us+50)/100)/10)
	case us >= 1000:
		return fmt.Sprintf("%.2f", float64((us+5)/10)/100)
	}
	return thousandths(d)
}

// thousandths writes a time in milliseconds with microseconds behind the point.
func thousandths(d time.Duration) string {
	us := d.Microseconds()
	return fmt.Sprintf("%d.%03d", us/1000, us%1000)
}
