/* select(2), by poll(2), with what the kernel makes of events: see fs/select.c there. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

#define READ_BITS (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define WRITE_BITS (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)

static bool in(const fd_set *set, int fd) { return set && FD_ISSET(fd, set); }

static bool has_ours(int n, const fd_set *r, const fd_set *w, const fd_set *x)
{
	if (n > FD_SETSIZE)
		return false;
	for (int fd = 0; fd < n; fd++)
		if (find(fd) && (in(r, fd) || in(w, fd) || in(x, fd)))
			return true;
	return false;
}

/* Stores the members of the sets in p, which has room for n, and returns their number. */
static nfds_t members(struct pollfd *p, int n, const fd_set *r, const fd_set *w, const fd_set *x)
{
	nfds_t count = 0;
	short events;

	for (int fd = 0; fd < n; fd++) {
		events = (short)((in(r, fd) ? POLLIN | POLLRDNORM : 0) | (in(w, fd) ? POLLOUT | POLLWRNORM : 0) | (in(x, fd) ? POLLPRI : 0));
		if (events)
			p[count++] = (struct pollfd){.fd = fd, .events = events};
	}
	return count;
}

static int mark(fd_set *set, const struct pollfd *p, int asked, int bits)
{
	if (!set)
		return 0;
	if ((p->events & asked) && (p->revents & bits)) {
		FD_SET(p->fd, set);
		return 1;
	}
	FD_CLR(p->fd, set);
	return 0;
}

static int marks(const struct pollfd *p, nfds_t n, fd_set *r, fd_set *w, fd_set *x)
{
	int count = 0;

	for (nfds_t i = 0; i < n; i++)
		if (p[i].revents & POLLNVAL)
			return -EBADF;
	for (nfds_t i = 0; i < n; i++)
		count += mark(r, &p[i], POLLIN, READ_BITS) + mark(w, &p[i], POLLOUT, WRITE_BITS) + mark(x, &p[i], POLLPRI, POLLPRI);
	return count;
}

static int wait_sets(int n, fd_set *r, fd_set *w, fd_set *x, int64_t deadline, const sigset_t *mask)
{
	struct pollfd p[FD_SETSIZE];
	nfds_t count = members(p, n, r, w, x);
	int code = wait_files(p, count, deadline, mask);

	return code < 0 ? code : marks(p, count, r, w, x);
}

EXPORT int select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout)
{
	int64_t deadline = NEVER, left;
	int code;

	if (!lib.floor || !has_ours(n, r, w, x))
		return real()->select(n, r, w, x, timeout);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return fail(-EINVAL);
		left = timeout->tv_sec >= NEVER / 2000000000 ? -1 : timeout->tv_sec * 1000000000LL + timeout->tv_usec * 1000LL;
		deadline = left == 0 ? 0 : after(left);
	}
	code = wait_sets(n, r, w, x, deadline, NULL);
	/* Linux tells what is left of the time. */
	if (timeout && deadline != NEVER) {
		left = deadline ? deadline - now_ns() : 0;
		left = left < 0 ? 0 : left;
		*timeout = (struct timeval){left / 1000000000, left % 1000000000 / 1000};
	}
	return (int)result(code);
}

EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *timeout, const sigset_t *mask)
{
	int64_t deadline = NEVER;

	if (!lib.floor || !has_ours(n, r, w, x))
		return real()->pselect(n, r, w, x, timeout, mask);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
			return fail(-EINVAL);
		deadline = timespec_ns(timeout) == 0 ? 0 : after(timespec_ns(timeout));
	}
	return (int)result(wait_sets(n, r, w, x, deadline, mask));
}
