// Command outband shows, uses and measures the out-of-band UDP/IPv4 stack of
// this module. "outband help" lists its subcommands.
package main

//go:generate go run ./internal/manpages ../../man

import (
	"os"

	"github.com/outband/outband/cmd/outband/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
