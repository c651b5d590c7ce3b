/* Calls that copy and close descriptors. The library's own lie at or above lib.floor, where the program can have
 * none: for it nothing is open there, as above the limit that getrlimit(2) tells it. */
#include "shim.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <unistd.h>

static bool is_librarys(int fd) { return lib.floor && fd >= lib.floor && !me.inside; }

/* A descriptor is another's copy from now on. */
static void copied(int from, int to)
{
	struct sock *s = find(from);

	if (from == to)
		return;
	if (s)
		table_set(to, s);
	else
		epoll_copied(from, to);
}

/* A descriptor is about to be closed. */
static void closing(int fd)
{
	if (me.inside)
		return;
	table_drop(fd);
	epoll_closed(fd);
}

EXPORT EARLY int close(int fd)
{
	if (is_librarys(fd))
		return fail(-EBADF);
	closing(fd);
	return real()->close(fd);
}

EXPORT int dup(int fd)
{
	int to = real()->dup(fd);

	if (to >= 0)
		copied(fd, to);
	return to;
}

static int dup_onto(int from, int to, int flags, bool three)
{
	int got;

	if (is_librarys(to) || is_librarys(from))
		return fail(-EBADF);
	if (from != to && real()->fcntl(from, F_GETFD) >= 0)
		closing(to);
	got = three ? real()->dup3(from, to, flags) : real()->dup2(from, to);
	if (got >= 0)
		copied(from, to);
	return got;
}

EXPORT int dup2(int from, int to) { return me.inside ? real()->dup2(from, to) : dup_onto(from, to, 0, false); }
EXPORT int dup3(int from, int to, int flags) { return me.inside ? real()->dup3(from, to, flags) : dup_onto(from, to, flags, true); }

EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list args;
	void *arg;
	int code;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	code = real()->fcntl(fd, cmd, arg);
	if (code < 0 || me.inside)
		return code;
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		copied(fd, code);
	if (cmd == F_SETFL) {
		struct sock *s = find(fd);

		if (s)
			s->nonblock = ((long)arg & O_NONBLOCK) != 0;
	}
	return code;
}

EXPORT int fcntl64(int fd, int cmd, ...) __attribute__((alias("fcntl")));

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	if (me.inside || !lib.floor)
		return real()->close_range(first, last, flags);
	if (first > last)
		return fail(-EINVAL);
	if (first >= (unsigned int)lib.floor)
		return 0;
	if (last >= (unsigned int)lib.floor)
		last = (unsigned int)lib.floor - 1;
	if (!(flags & CLOSE_RANGE_CLOEXEC))
		for (unsigned int fd = first; fd <= last && fd < TABLE; fd++)
			closing((int)fd);
	return real()->close_range(first, last, flags);
}

EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned int)first, UINT_MAX, 0);
}
