package gonet

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/outband/outband/test/lab"
)

// TestMain has more programs run at once than there are CPUs, since mostly they wait.
func TestMain(m *testing.M) {
	if what := os.Getenv(browseEnv); what != "" {
		if err := browseAsChild(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("4") // which it takes
	}
	os.Exit(m.Run())
}

// A program is one of others, unmodified, that runs between two hosts.
type program struct {
	name string
	// run has it run. In a lab one of the hosts is the kernel's.
	run func(t *testing.T, w *world, client, server *host)
	// ways are which hosts it is tried with, in a lab; 0: both.
	ways  way
	where place
	// naked are the hosts that have no address at the beginning.
	naked lab.Kernel
}

// A place is where a program can run.
type place int

const (
	everywhere place = iota
	inLab            // it takes namespaces: it is a process, or opens connections of package net's itself
	inMemory         // it takes connections of ours only
)

// A way is what our stack is.
type way int

const (
	serves way = 1 << iota
	asks
)

var programs = []program{
	{name: "quic", run: runQUIC},
	{name: "quic by batches", run: runQUICBatches},
	{name: "migration", run: runMigration},
	{name: "http3", run: runHTTP3},
	{name: "dns", run: runDNS},
	{name: "dnsperf", run: runDNSPerf, ways: serves, where: inLab},
	{name: "dnsmasq", run: runDNSMasq, ways: asks, where: inLab},
	{name: "mdns", run: runMulticastDNS},
	{name: "ice", run: runICE},
	{name: "turn", run: runTURN},
	{name: "wireguard", run: runWireGuard},
	{name: "dhcp", run: runDHCP, where: inMemory},
	{name: "dhcp of dnsmasq", run: runDHCPOfDNSMasq, ways: asks, where: inLab, naked: lab.Near},
	{name: "udhcpc", run: runUDHCPC, ways: serves, where: inLab, naked: lab.Far},
	{name: "ntp", run: runNTP},
	{name: "chronyd", run: runChronyd, ways: asks, where: inLab},
	{name: "chronyd asks", run: runChronydAsks, ways: serves, where: inLab},
	{name: "memberlist", run: runMemberlist, ways: asks},
	{name: "radius", run: runRADIUS, ways: serves, where: inLab},
	{name: "kcp", run: runKCP},
	{name: "statsd", run: runStatsD},
	{name: "syslog", run: runSyslog, ways: serves, where: inLab},
	{name: "snmp", run: runSNMP, ways: asks, where: inLab},
}

// TestPrograms runs each program with each kind of address and over each wire:
// -run TestPrograms/http3/shared/flap, say.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, k := range kinds {
				if p.where == inLab && k.kind == memory || p.where == inMemory && k.kind != memory {
					continue
				}
				t.Run(k.name, func(t *testing.T) {
					t.Parallel()
					if k.kind != memory {
						lab.Need(t)
					}
					for _, tr := range troubles {
						t.Run(tr.name, func(t *testing.T) {
							t.Parallel()
							p.try(t, newWorld(t, k.kind, tr.trouble, p.naked))
						})
					}
				})
			}
		})
	}
}

// try runs a program in a world, with our stack as each of what it is to be.
func (p *program) try(t *testing.T, w *world) {
	ways := p.ways
	if ways == 0 {
		ways = serves | asks
	}
	if w.kind == memory {
		ways = asks // the same, since both hosts are ours
	}
	if ways&asks != 0 {
		t.Run("asks", func(t *testing.T) { p.run(t, w, w.near, w.far) })
	}
	if ways&serves != 0 {
		t.Run("serves", func(t *testing.T) { p.run(t, w, w.far, w.near) })
	}
}
