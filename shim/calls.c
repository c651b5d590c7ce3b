/* Calls that make, name and configure sockets. */
#include "shim.h"

#include <linux/filter.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

EXPORT int socket(int domain, int type, int protocol)
{
	struct sock *s;
	int fd = real()->socket(domain, type, protocol), saved;

	if (fd < 0 || me.inside || unwanted(domain, type, protocol) || shared_memory() || !library_start())
		return fd;
	saved = errno;
	s = sock_new(domain, type, protocol);
	if (s)
		table_set(fd, s);
	errno = saved;
	return fd;
}

/* Hands a call with an address to the library, once it is decided whose the socket is. */
#define ADDRESSED(fd, addr, len, binds, call) \
	struct sock *s = find(fd); \
	int code; \
	if (!s) \
		return real()->call(fd, addr, len); \
	decide(s, fd, addr, len, binds); \
	if (!(s = find(fd))) \
		return real()->call(fd, addr, len); \
	enter(); \
	code = lib.call(s->handle, addr, len); \
	leave(); \
	if (code == -ENOENT && leave_library(s, fd)) \
		return real()->call(fd, addr, len); \
	if (code < 0) \
		return fail(code); \
	if (!(binds)) \
		joined(s, addr, len); \
	settle(s, fd); \
	return code

static void joined(struct sock *s, const struct sockaddr *a, socklen_t len)
{
	memset(&s->peer, 0, sizeof s->peer);
	if (a->sa_family != AF_UNSPEC)
		memcpy(&s->peer, a, len < sizeof s->peer ? len : sizeof s->peer);
}

EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len) { ADDRESSED(fd, addr, len, true, bind); }
EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len) { ADDRESSED(fd, addr, len, false, connect); }

EXPORT int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sock *s = find(fd);
	int code;

	if (!s)
		return real()->getsockname(fd, addr, len);
	enter();
	code = lib.getsockname(s->handle, addr, len);
	leave();
	return (int)result(code);
}

EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sock *s = find(fd);
	int code;

	if (!s)
		return real()->getpeername(fd, addr, len);
	enter();
	code = lib.getpeername(s->handle, addr, len);
	leave();
	return (int)result(code);
}

EXPORT int shutdown(int fd, int how)
{
	struct sock *s = find(fd);
	int code;

	if (!s)
		return real()->shutdown(fd, how);
	enter();
	code = lib.shutdown(s->handle, how);
	leave();
	return (int)result(code);
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct sock *s = find(fd);
	int code;

	if (!s)
		return real()->getsockopt(fd, level, name, value, len);
	enter();
	code = lib.getsockopt(s->handle, level, name, value, len);
	leave();
	return (int)result(code);
}

/* Values that point elsewhere cannot be kept. */
static bool has_pointer(int level, int name)
{
	return level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_ATTACH_REUSEPORT_CBPF);
}

/* Time-outs are kept here too, since it is here that a call sleeps. */
static void note_timeout(struct sock *s, int name, const void *value, socklen_t len)
{
	struct timeval t;
	int64_t ns;

	if ((name != SO_RCVTIMEO && name != SO_SNDTIMEO) || len < sizeof t)
		return;
	memcpy(&t, value, sizeof t);
	ns = t.tv_sec < 0 ? 1 : t.tv_sec >= NEVER / 2000000000 ? 0 : t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
	atomic_store(name == SO_RCVTIMEO ? &s->rcvtimeo : &s->sndtimeo, ns);
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct sock *s = find(fd);
	int code;

	if (!s)
		return real()->setsockopt(fd, level, name, value, len);
	enter();
	code = lib.setsockopt(s->handle, level, name, value, len);
	if (code >= 0) {
		if (has_pointer(level, name) && s->side == UNDECIDED)
			real()->setsockopt(fd, level, name, value, len);
		else if (!has_pointer(level, name) && len <= 4096)
			keep_option(s, level, name, value, len);
		if (level == SOL_SOCKET)
			note_timeout(s, name, value, len);
	}
	leave();
	return (int)result(code);
}

/* What an ioctl asks of the socket is the library's to say; of devices, the kernel's. */
static bool is_sockets(unsigned long request)
{
	return request == FIONREAD || request == TIOCOUTQ || request == SIOCGSTAMP_OLD || request == SIOCGSTAMPNS_OLD ||
	       request == SIOCGSTAMP_NEW || request == SIOCGSTAMPNS_NEW;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct sock *s;
	va_list args;
	void *arg;
	int code;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	s = find(fd);
	if (!s || !is_sockets(request)) {
		code = real()->ioctl(fd, request, arg);
		if (s && request == FIONBIO && code == 0)
			s->nonblock = *(int *)arg != 0;
		return code;
	}
	enter();
	code = lib.ioctl(s->handle, request, arg);
	leave();
	return (int)result(code);
}
