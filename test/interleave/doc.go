// Package interleave judges what a host does when socket calls, frames from the wire
// and changes of its configuration come in any order: the faults that live between
// them. A program mixes all three; it is run by the kernel's host and by ours (package
// wire has both), and what they say is compared after each step: results and errnos,
// what is received, error queues, readiness, the frames that leave, and counters.
//
// A program is bytes, so that Go's fuzzer can steer it by coverage
// (FuzzInterleave); as text it has a step a line, and a program that failed once is a
// seed in testdata/seeds.
package interleave
