package preload

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/test/lab"
)

// dnsmasq returns the command of a server that knows a few names.
func dnsmasq(w *world, more ...string) []string {
	args := []string{"dnsmasq", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--port=5353",
		"--address=/one.test/192.0.2.1", "--address=/two.test/192.0.2.2", "--cache-size=100"}
	return append(args, more...)
}

const queries = "one.test A\ntwo.test A\nthree.test A\n"

// ask has dig ask for names, by UDP and by TCP, and dnsperf for many, out-of-band or not as the server.
func ask(w *world) string {
	var b strings.Builder
	at := []string{"@" + serverAddr, "-p", "5353", "+tries=2", "+time=5"}
	for _, q := range [][]string{{"one.test"}, {"two.test"}, {"three.test"}} {
		b.WriteString(lines(w.client(append(append([]string{"dig"}, at...), q...)...), `status:|IN\s+A\s`, regexp.MustCompile(`id: [0-9]+`)))
	}
	tcp := lab.Output(w.t, w.near.Namespace, "dig", append(at, "+tcp", "one.test")...)
	b.WriteString(lines(string(tcp), `IN\s+A\s`, nil))
	perf := w.client("dnsperf", "-s", serverAddr, "-p", "5353", "-d", w.file("queries", queries), "-n", "200", "-q", "20")
	b.WriteString(lines(perf, `Queries (sent|completed|lost)`, nil))
	return b.String()
}

// TestDnsmasq serves names as a program, and as a daemon that has changed its user.
func TestDnsmasq(t *testing.T) {
	t.Run("program", func(t *testing.T) {
		bothWays(t, func(w *world) string {
			w.start(5353, dnsmasq(w, "--no-daemon")...)
			return ask(w)
		}, "dnsmasq", "dig", "dnsperf")
	})
	t.Run("daemon", func(t *testing.T) {
		bothWays(t, func(w *world) string {
			w.start(5353, dnsmasq(w, "--user=nobody")...)
			return ask(w)
		}, "dnsmasq", "dig", "dnsperf")
	})
}

// TestUnbound has two threads on one port, by SO_REUSEPORT.
func TestUnbound(t *testing.T) {
	bothWays(t, func(w *world) string {
		config := w.file("unbound.conf", `server:
  interface: `+serverAddr+`@5353
  access-control: 0.0.0.0/0 allow
  num-threads: 2
  so-reuseport: yes
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "/tmp"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  local-zone: "test." static
  local-data: "one.test. A 192.0.2.1"
  local-data: "two.test. A 192.0.2.2"
remote-control:
  control-enable: no
`)
		w.start(5353, "unbound", "-d", "-c", config)
		return ask(w)
	}, "unbound", "dig", "dnsperf")
}

// TestChrony has a client find out the time of a server, which is that of the same clock.
func TestChrony(t *testing.T) {
	bothWays(t, func(w *world) string {
		dir := w.t.TempDir()
		server := w.file("server.conf", "local stratum 3\nallow 10.9.0.0/24\nport 1123\ncmdport 0\nbindcmdaddress /\npidfile "+dir+"/server.pid\n")
		w.start(1123, "chronyd", "-d", "-x", "-F", "0", "-u", "root", "-f", server)
		// It prints the offset, and sets nothing (-Q).
		out := w.client("chronyd", "-Q", "-t", "15", "-F", "0", "-u", "root", "-f", w.file("client.conf",
			fmt.Sprintf("server %s port 1123 iburst maxsamples 1\ncmdport 0\nbindcmdaddress /\npidfile %s/client.pid\n", serverAddr, dir)))
		return lines(out, `System clock wrong by -?0\.00`, regexp.MustCompile(`.*wrong by.*`))
	}, "chronyd")
}

// TestTFTP fetches a file of many blocks.
func TestTFTP(t *testing.T) {
	bothWays(t, func(w *world) string {
		dir := w.t.TempDir()
		text := strings.Repeat("all work and no play\n", 5000)
		lab.Output(w.t, w.server.Namespace, "sh", "-c", fmt.Sprintf(`chmod 755 %s %s/.. && yes 'all work and no play' | head -5000 > %s/file`, dir, dir, dir))
		w.start(1069, "in.tftpd", "-L", "--address", serverAddr+":1069", "--user", "root", "--secure", dir)
		got := w.t.TempDir() + "/got"
		w.client("tftp", "-m", "binary", serverAddr, "1069", "-c", "get", "file", got)
		return fmt.Sprint(w.content(got, text) == text)
	}, "tftp", "in.tftpd")
}

// TestSNMP asks an agent for what it is.
func TestSNMP(t *testing.T) {
	bothWays(t, func(w *world) string {
		config := w.file("snmpd.conf", "rocommunity public\nsysName tested\nagentaddress udp:"+serverAddr+":1161\n")
		w.start(1161, "snmpd", "-f", "-C", "-c", config, "-I", "system_mib,sysORTable,snmp_mib", "-Lo", "-p", w.t.TempDir()+"/pid")
		return w.client("snmpget", "-v2c", "-c", "public", "-t", "2", "-r", "2", "-On", serverAddr+":1161", "1.3.6.1.2.1.1.5.0")
	}, "snmpd", "snmpget")
}

// TestRsyslog writes what logger sends. That ends at once, with what would wait for ARP still: see README.
func TestRsyslog(t *testing.T) {
	bothWays(t, func(w *world) string {
		log := w.file("log", "")
		config := w.file("rsyslog.conf", `module(load="imudp")
input(type="imudp" address="`+serverAddr+`" port="1514")
template(name="short" type="string" string="%syslogtag%%msg%\n")
action(type="omfile" file="`+log+`" template="short")
`)
		far, err := w.server.Device("far0")
		if err == nil {
			err = w.near.SetNeighbour("near0", w.server.Addr, far.HardwareAddr)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.start(1514, "rsyslogd", "-n", "-f", config, "-i", w.t.TempDir()+"/pid")
		for i := range 3 {
			w.client("logger", "-n", serverAddr, "-P", "1514", "-d", "-t", "test", fmt.Sprintf("message %d", i))
		}
		return w.content(log, "message 2")
	}, "rsyslogd", "logger")
}

// TestPTP has a slave hear its master, by multicasts, and begin to follow it, with software stamps.
func TestPTP(t *testing.T) {
	bothWays(t, func(w *world) string {
		config := "[global]\nfree_running 1\nlogSyncInterval -3\nlogAnnounceInterval -2\nannounceReceiptTimeout 10\nuds_address " + w.t.TempDir() + "/uds\n"
		w.start(319, "ptp4l", "-4", "-S", "-i", "far0", "-m", "-q", "-f", w.file("master.conf", config+"priority1 1\n"))
		out := w.upTo(20*time.Second, "UNCALIBRATED on RS_SLAVE", "ptp4l", "-4", "-S", "-s", "-i", "near0", "-m", "-q", "-f", w.file("slave.conf", config))
		return lines(out, `UNCALIBRATED`, regexp.MustCompile(`[0-9]+`))
	}, "ptp4l")
}
