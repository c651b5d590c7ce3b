package gonet

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/outband/outband/test/lab"
)

// runSNMP asks Debian's agent for its name, and walks over its system group.
func runSNMP(t *testing.T, w *world, client, server *host) {
	dir := t.TempDir()
	config := filepath.Join(dir, "snmpd.conf")
	check(t, os.WriteFile(config, []byte("rocommunity public\nsysName agent\nsysContact nobody\nsysLocation lab\n"), 0o644))
	lab.Start(t, server.at.Namespace, lab.NeedProgram(t, "env"), "SNMP_PERSISTENT_DIR="+dir, lab.NeedProgram(t, "/usr/sbin/snmpd"),
		"-f", "-Lo", "-C", "-c", config, "-p", filepath.Join(dir, "pid"), "udp:"+server.port(161).String())
	g := &gosnmp.GoSNMP{Target: "127.0.0.1", Port: 161, Community: "public", Version: gosnmp.Version2c, Timeout: 200 * time.Millisecond, Retries: 50, MaxRepetitions: 5}
	check(t, g.Connect()) // in-band, to nobody
	check(t, g.Conn.Close())
	g.Conn = client.dial(t, server.port(161))
	const system, sysName = "1.3.6.1.2.1.1", "1.3.6.1.2.1.1.5.0"
	await(t, func() error { _, err := g.Get([]string{sysName}); return err }) // ECONNREFUSED until it listens
	w.rounds(t, func(int) {
		for range 10 {
			r, err := g.Get([]string{sysName})
			check(t, err)
			if len(r.Variables) != 1 || string(r.Variables[0].Value.([]byte)) != "agent" {
				t.Errorf("%+v", r)
			}
			all, err := g.BulkWalkAll(system)
			check(t, err)
			if len(all) < 7 {
				t.Errorf("%d variables of the system group", len(all))
			}
		}
	})
}
