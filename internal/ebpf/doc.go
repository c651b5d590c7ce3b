// Package ebpf makes maps and programs of the kernel's eBPF machine, and attaches programs to devices: what
// the program that keeps the kernel off a stack's datagrams takes of bpf(2), and no more. It knows
// no object files and no BTF, which would be most of what a small program links.
//
// Errors wrap errnos: EPERM, a capability is missing (CAP_BPF, CAP_NET_ADMIN).
package ebpf
