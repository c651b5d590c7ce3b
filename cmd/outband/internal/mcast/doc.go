// Package mcast receives multicast groups and keeps account of each: what came,
// how fast, what is missing by its sequence numbers, how long it has been silent,
// and what was dropped on the way; and it shows what groups are joined. It is
// behind the subcommands of "outband mcast".
package mcast
