// Package calls is what the exported functions of the C library do, with C's types as
// package unix has them: struct msghdr, iovec and sockaddr are used where the caller has
// them, without a copy and without an allocation.
//
// A call returns 0 or more, or a negative errno. A pointer is believed, as the kernel's
// calls cannot be made to; only NULL is EFAULT.
//
// # Locks
//
// The library's mu is held while a stack is started or stopped. Tables have one of their own
// for changes; a look takes none.
package calls
