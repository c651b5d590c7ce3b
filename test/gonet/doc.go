// Package gonet runs programs of others, unmodified, over connections of package gonet: each
// against the kernel, with an address of the stack's own and with the kernel's, and between two
// stacks in memory; over a good wire, over one that loses, doubles and reorders, and over one
// that is pulled out for a while. TestPrograms has the table.
//
//	go test -run 'TestPrograms/http3/shared/flap'
//	OUTBAND_FULL=1 go test -run 'TestPrograms/http3'    # 100 MiB, and 100 streams at once
//
// Programs that are no Go are Debian's: .ci/run installs them.
//
// It is a module of its own, so that nobody who uses the stack gets their dependencies.
package gonet
