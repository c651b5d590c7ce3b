/* Other doors to the same calls: syscall(2), which libuv and others send by, and what
 * _FORTIFY_SOURCE and large files make of the names. */
#include "shim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#define P(type, i) ((type)a[i])
#define I(i) ((int)a[i])
#define U(i) ((unsigned int)a[i])

static long transfer(long n, const long *a)
{
	switch (n) {
	case SYS_sendto: return sendto(I(0), P(void *, 1), P(size_t, 2), I(3), P(struct sockaddr *, 4), P(socklen_t, 5));
	case SYS_sendmsg: return sendmsg(I(0), P(struct msghdr *, 1), I(2));
	case SYS_sendmmsg: return sendmmsg(I(0), P(struct mmsghdr *, 1), U(2), I(3));
	case SYS_recvfrom: return recvfrom(I(0), P(void *, 1), P(size_t, 2), I(3), P(struct sockaddr *, 4), P(socklen_t *, 5));
	case SYS_recvmsg: return recvmsg(I(0), P(struct msghdr *, 1), I(2));
	case SYS_recvmmsg: return recvmmsg(I(0), P(struct mmsghdr *, 1), U(2), I(3), P(struct timespec *, 4));
	case SYS_read: return read(I(0), P(void *, 1), P(size_t, 2));
	case SYS_readv: return readv(I(0), P(struct iovec *, 1), I(2));
	case SYS_write: return write(I(0), P(void *, 1), P(size_t, 2));
	default: return writev(I(0), P(struct iovec *, 1), I(2));
	}
}

static long configure(long n, const long *a)
{
	switch (n) {
	case SYS_socket: return socket(I(0), I(1), I(2));
	case SYS_bind: return bind(I(0), P(struct sockaddr *, 1), P(socklen_t, 2));
	case SYS_connect: return connect(I(0), P(struct sockaddr *, 1), P(socklen_t, 2));
	case SYS_getsockname: return getsockname(I(0), P(struct sockaddr *, 1), P(socklen_t *, 2));
	case SYS_getpeername: return getpeername(I(0), P(struct sockaddr *, 1), P(socklen_t *, 2));
	case SYS_getsockopt: return getsockopt(I(0), I(1), I(2), P(void *, 3), P(socklen_t *, 4));
	case SYS_setsockopt: return setsockopt(I(0), I(1), I(2), P(void *, 3), P(socklen_t, 4));
	case SYS_shutdown: return shutdown(I(0), I(1));
	case SYS_ioctl: return ioctl(I(0), P(unsigned long, 1), P(void *, 2));
	case SYS_fcntl: return fcntl(I(0), I(1), P(void *, 2));
	case SYS_dup: return dup(I(0));
	case SYS_dup3: return dup3(I(0), I(1), I(2));
	case SYS_close: return close(I(0));
	default: return close_range(U(0), U(1), I(2));
	}
}

EXPORT EARLY long syscall(long n, ...)
{
	long a[6];
	va_list args;

	va_start(args, n);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (lib.floor && !me.inside) {
		switch (n) {
		case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
		case SYS_read: case SYS_readv: case SYS_write: case SYS_writev:
			return transfer(n, a);
		case SYS_bind: case SYS_connect: case SYS_getsockname: case SYS_getpeername:
		case SYS_getsockopt: case SYS_setsockopt: case SYS_shutdown: case SYS_ioctl: case SYS_fcntl: case SYS_dup: case SYS_dup3:
		case SYS_close: case SYS_close_range:
			return configure(n, a);
		case SYS_epoll_ctl: return epoll_ctl(I(0), I(1), I(2), P(struct epoll_event *, 3));
		case SYS_epoll_pwait: return epoll_pwait(I(0), P(struct epoll_event *, 1), I(2), I(3), P(sigset_t *, 4));
		case SYS_ppoll: return ppoll(P(struct pollfd *, 0), P(nfds_t, 1), P(struct timespec *, 2), P(sigset_t *, 3));
		}
	}
	if (n == SYS_socket)
		return configure(n, a);
	return real()->syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What is too large for the buffer ends the program in libc's: so it does there. */

EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	if (n > size)
		__builtin_trap();
	return recv(fd, buf, n, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *from, socklen_t *len)
{
	if (n > size)
		__builtin_trap();
	return recvfrom(fd, buf, n, flags, from, len);
}

EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
	if (n > size)
		__builtin_trap();
	return read(fd, buf, n);
}

EXPORT int __poll_chk(struct pollfd *p, nfds_t n, int timeout, size_t size)
{
	if (n > size / sizeof *p)
		__builtin_trap();
	return poll(p, n, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
	if (n > size / sizeof *p)
		__builtin_trap();
	return ppoll(p, n, timeout, mask);
}

EXPORT ssize_t sendfile64(int out, int in, off_t *offset, size_t n) { return sendfile(out, in, offset, n); }

/* struct rlimit64 is struct rlimit where long has 64 bits. */
EXPORT int get_64(__rlimit_resource_t what, struct rlimit *r) __asm__("getrlimit64");
EXPORT int set_64(__rlimit_resource_t what, const struct rlimit *r) __asm__("setrlimit64");
EXPORT int pr_64(pid_t pid, enum __rlimit_resource what, const struct rlimit *r, struct rlimit *old) __asm__("prlimit64");

int get_64(__rlimit_resource_t what, struct rlimit *r) { return getrlimit(what, r); }
int set_64(__rlimit_resource_t what, const struct rlimit *r) { return setrlimit(what, r); }
int pr_64(pid_t pid, enum __rlimit_resource what, const struct rlimit *r, struct rlimit *old) { return prlimit(pid, what, r, old); }
