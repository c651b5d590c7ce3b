/* The library's double: ob_* over kernel sockets, which lie above a floor. What the shim makes
 * of it must be what the kernel makes of the same calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "outband.h"

#define BUDGET 50000 /* ns that a receive spins */

/* A handle is the descriptor less the floor, which is a number space of its own. */
static int base = 4000;
static int64_t spin = BUDGET;

static int fd_of(int handle) { return handle + base; }
static int code(long n) { return n < 0 ? -errno : (int)n; }

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int high(int fd)
{
	int up;

	if (fd < 0)
		return -errno;
	up = fcntl(fd, F_DUPFD_CLOEXEC, base);
	close(fd);
	return up < 0 ? -errno : up;
}

int ob_start(const struct ob_config *c)
{
	if (c->fd_floor)
		base = c->fd_floor;
	if (c->spin >= 0)
		spin = c->spin;
	if (c->device && !strcmp(c->device, "none"))
		return -ENODEV;
	return 0;
}

int ob_stop(void) { return 0; }
int ob_error(char *buf, size_t n) { return snprintf(buf, n, "there is no device none"); }

int ob_socket(int domain, int type, int protocol)
{
	int fd = high(socket(domain, type, protocol));

	return fd < 0 ? fd : fd - base;
}

int ob_bind(int s, const struct sockaddr *a, socklen_t n) { return code(bind(fd_of(s), a, n)); }
int ob_connect(int s, const struct sockaddr *a, socklen_t n) { return code(connect(fd_of(s), a, n)); }
int ob_getsockname(int s, struct sockaddr *a, socklen_t *n) { return code(getsockname(fd_of(s), a, n)); }
int ob_getpeername(int s, struct sockaddr *a, socklen_t *n) { return code(getpeername(fd_of(s), a, n)); }
int ob_shutdown(int s, int how) { return code(shutdown(fd_of(s), how)); }
int ob_close(int s) { return code(close(fd_of(s))); }
int ob_getsockopt(int s, int l, int o, void *v, socklen_t *n) { return code(getsockopt(fd_of(s), l, o, v, n)); }
int ob_setsockopt(int s, int l, int o, const void *v, socklen_t n) { return code(setsockopt(fd_of(s), l, o, v, n)); }
int ob_ioctl(int s, unsigned long request, void *arg) { return code(ioctl(fd_of(s), request, arg)); }
int ob_pollfd(int s) { return fd_of(s); }

ssize_t ob_sendto(int s, const void *b, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	ssize_t got = sendto(fd_of(s), b, n, flags, to, len);

	return got < 0 ? -errno : got;
}

ssize_t ob_sendmsg(int s, const struct msghdr *m, int flags)
{
	ssize_t got = sendmsg(fd_of(s), m, flags);

	return got < 0 ? -errno : got;
}

int ob_sendmmsg(int s, struct mmsghdr *m, unsigned int n, int flags) { return code(sendmmsg(fd_of(s), m, n, flags)); }

/* A signal that comes meanwhile has to wait: sometimes one does, for long. */
static int spins(int s, int64_t until, int flags, const volatile unsigned int *cut)
{
	struct pollfd p = {.fd = fd_of(s), .events = POLLRDHUP};

	if (errno != EAGAIN || flags & MSG_DONTWAIT)
		return -errno;
	/* A receive that waits finds the end; one that does not, nothing. */
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP))
		return 1;
	if (cut && *cut)
		return -EINTR;
	return now() < until ? 0 : -EAGAIN;
}

ssize_t ob_recvmsg_cut(int s, struct msghdr *m, int flags, const volatile unsigned int *cut)
{
	int64_t until = spin == OB_SPIN_ALWAYS ? INT64_MAX : now() + spin;
	ssize_t n;
	int c = 0;

	while ((n = recvmsg(fd_of(s), m, flags | MSG_DONTWAIT)) < 0 && (c = spins(s, until, flags, cut)) == 0)
		;
	return n < 0 && c == 1 ? 0 : n < 0 ? c : n;
}

int ob_recvmmsg_cut(int s, struct mmsghdr *m, unsigned int n, int flags, const volatile unsigned int *cut)
{
	int64_t until = spin == OB_SPIN_ALWAYS ? INT64_MAX : now() + spin;
	int got, c = 0;

	while ((got = recvmmsg(fd_of(s), m, n, flags | MSG_DONTWAIT, NULL)) < 0 && (c = spins(s, until, flags, cut)) == 0)
		;
	return got < 0 && c == 1 ? 0 : got < 0 ? c : got;
}

static int look(struct ob_want *w, unsigned int n)
{
	int ready = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct pollfd p = {.fd = fd_of(w[i].handle), .events = w[i].events};

		poll(&p, 1, 0);
		w[i].revents = p.revents;
		ready += p.revents != 0;
	}
	return ready;
}

int ob_spin(struct ob_want *w, unsigned int n, int64_t budget, const volatile unsigned int *cut)
{
	int64_t until = now() + (budget < 0 ? spin : budget == OB_SPIN_ALWAYS ? 1000000000000LL : budget);
	int ready;

	while ((ready = look(w, n)) == 0 && now() < until)
		if (cut && *cut)
			return -EINTR;
	return ready;
}

int ob_events(int s)
{
	struct ob_want w = {.handle = s, .events = 0x7fff};

	look(&w, 1);
	return w.revents;
}

static int armed; /* tokens that are owed */

static void complain(void)
{
	if (armed)
		fprintf(stderr, "mock: %d tokens are owed\n", armed);
}

/* An epoll of its own is readable when a socket is ready for what is wanted. */
int ob_arm(struct ob_want *w, unsigned int n, int *fds, unsigned int *count, int64_t *until)
{
	static int once;
	int e = high(epoll_create1(EPOLL_CLOEXEC));

	if (!__atomic_exchange_n(&once, 1, __ATOMIC_SEQ_CST))
		atexit(complain);
	if (e < 0)
		return e;
	for (unsigned int i = 0; i < n; i++) {
		struct epoll_event ev = {.events = (uint32_t)(uint16_t)w[i].events};

		if (epoll_ctl(e, EPOLL_CTL_ADD, fd_of(w[i].handle), &ev) < 0 && errno == EEXIST) {
			ev.events = 0x7fff; /* it is wanted twice */
			epoll_ctl(e, EPOLL_CTL_MOD, fd_of(w[i].handle), &ev);
		}
	}
	__atomic_add_fetch(&armed, 1, __ATOMIC_SEQ_CST);
	fds[0] = e;
	*count = 1;
	*until = now() + 50000000; /* now and then there is something to do */
	return e - base;
}

int ob_disarm(int token, struct ob_want *w, unsigned int n)
{
	close(fd_of(token));
	__atomic_sub_fetch(&armed, 1, __ATOMIC_SEQ_CST);
	return look(w, n);
}

/* As on shared addresses, if a test asks for it. */
int ob_holder(int s)
{
	struct sockaddr_in a;
	socklen_t n = sizeof a;

	if (!getenv("MOCK_HOLDER") || getsockname(fd_of(s), (struct sockaddr *)&a, &n) < 0 || a.sin_port == 0)
		return -ENOENT;
	return fd_of(s);
}

int ob_where(int s, struct ob_path *p)
{
	(void)s;
	p->by = OB_BY_RING;
	strcpy(p->device, "mock");
	return 0;
}
