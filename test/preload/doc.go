// Package preload tests the shim (../../shim) and "outband run": programs in C print all that
// their calls return, in-band and over the shim, and both must be the same; programs of others
// run unmodified, in-band and out-of-band, and do the same work.
package preload
