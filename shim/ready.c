/* poll(2) over sockets of the stack's and all else. The stack's are looked at in the library,
 * the others by the kernel, and both are slept on together. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

#define SMALL 64        /* descriptors for which there is room on the stack */
#define SLICE 50000     /* ns of spinning between looks at the kernel's descriptors */
#define OURS 1 /* of a descriptor: it is the stack's, */
#define KEPT 2 /* and something waits since fork */
#define LONG_SLICE 1000000 /* without any */

/* A set that is waited for: the stack's sockets, and the others with room for ARMS. */
struct set {
	struct ob_want *want;
	struct pollfd *files;
	unsigned int n, m;
	unsigned int kept; /* sockets of which something waited at fork: they are ready */
};

static int look(struct set *t)
{
	int ready;

	enter();
	ready = lib.spin(t->want, t->n, 0, NULL);
	leave();
	return ready;
}

static int look_at_files(struct set *t, const sigset_t *mask)
{
	static const struct timespec now;

	return t->m ? real()->ppoll(t->files, t->m, &now, mask) : 0;
}

static int64_t budget(const struct set *t, int64_t deadline)
{
	int64_t spin = settings.spin, left;

	if (lib.always)
		spin = t->m ? SLICE : LONG_SLICE;
	if (spin < 0 || deadline == NEVER)
		return spin < 0 ? OB_SPIN_DEFAULT : spin;
	left = deadline - now_ns();
	return left < 0 ? 0 : left < spin ? left : spin;
}

/* Spins for the budget, or for ever if that is the setting: what is ready, 0, or -EINTR. */
static int spin(struct set *t, int64_t deadline, unsigned int ran)
{
	int ready, files;

	do {
		enter();
		/* From here on a handler waits, and cuts the spinning short. */
		ready = me.ran != ran ? 0 : lib.spin(t->want, t->n, budget(t, deadline), &me.cut);
		leave();
		if (ready > 0 || me.ran != ran)
			return ready > 0 ? ready : -EINTR;
		files = lib.always ? look_at_files(t, NULL) : 0;
		if (files)
			return files < 0 ? -errno : files;
	} while (lib.always && (deadline == NEVER || now_ns() < deadline));
	return 0;
}

/* Under a mask of its own it does not spin: which signals are to end it is for the kernel to say. */
static int wait_set(struct set *t, int64_t deadline, const sigset_t *mask, unsigned int ran)
{
	int ready = look(t) + (int)t->kept, files;

	if (ready || deadline == 0 || t->m) {
		files = look_at_files(t, mask);
		if (files < 0)
			return -errno;
		if (ready + files || deadline == 0)
			return ready + files;
	}
	if (!mask) {
		ready = spin(t, deadline, ran);
		if (ready || (lib.always && deadline != NEVER))
			return ready;
	}
	return nap(t->want, t->n, t->files, t->m, deadline, mask, ran);
}

static int split_and_wait(struct set *t, struct pollfd *p, nfds_t n, int64_t deadline, const sigset_t *mask, unsigned int ran)
{
	unsigned int w = 0, f = 0;
	int code, ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		struct sock *s = find(p[i].fd);

		if (s)
			t->want[t->n++] = (struct ob_want){.handle = s->handle, .events = p[i].events};
		else
			t->files[t->m++] = (struct pollfd){.fd = p[i].fd, .events = p[i].events};
		p[i].revents = s ? (kept_waits(s) ? OURS | KEPT : OURS) : 0; /* which of the two */
		t->kept += p[i].revents & KEPT ? 1 : 0;
	}
	code = wait_set(t, deadline, mask, ran);
	for (nfds_t i = 0; i < n; i++) {
		short mark = p[i].revents;

		p[i].revents = mark ? t->want[w++].revents : t->files[f++].revents;
		if (code <= 0)
			p[i].revents = 0;
		else if (mark & KEPT)
			p[i].revents |= p[i].events & (POLLIN | POLLRDNORM);
		ready += p[i].revents != 0;
	}
	return code < 0 ? code : ready;
}

/* Waits for p with the deadline, of which 0 is the past: the number of ready ones, or -errno. */
int wait_files(struct pollfd *p, nfds_t n, int64_t deadline, const sigset_t *mask)
{
	struct ob_want want[SMALL];
	struct pollfd files[SMALL + ARMS];
	struct set t = {want, files, 0, 0, 0};
	unsigned int ran = me.ran;
	int code;

	if (n <= SMALL)
		return split_and_wait(&t, p, n, deadline, mask, ran);
	enter();
	t.want = malloc(n * sizeof *t.want);
	t.files = malloc((n + ARMS) * sizeof *t.files);
	leave();
	code = t.want && t.files ? split_and_wait(&t, p, n, deadline, mask, ran) : -ENOMEM;
	enter();
	free(t.want);
	free(t.files);
	leave();
	return code;
}

static bool has_ours(const struct pollfd *p, nfds_t n)
{
	for (nfds_t i = 0; i < n; i++)
		if (find(p[i].fd))
			return true;
	return false;
}

/* Under other names: to the compiler libc's only write to what p points to. */
EXPORT int poll_any(struct pollfd *p, nfds_t n, int timeout) __asm__("poll");
EXPORT int ppoll_any(struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask) __asm__("ppoll");

int poll_any(struct pollfd *p, nfds_t n, int timeout)
{
	if (!lib.floor || !has_ours(p, n))
		return real()->poll(p, n, timeout);
	return (int)result(wait_files(p, n, timeout == 0 ? 0 : after(timeout < 0 ? -1 : timeout * 1000000LL), NULL));
}

int ppoll_any(struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	if (!lib.floor || !has_ours(p, n))
		return real()->ppoll(p, n, timeout, mask);
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000))
		return fail(-EINVAL);
	if (!timeout)
		return (int)result(wait_files(p, n, NEVER, mask));
	return (int)result(wait_files(p, n, timespec_ns(timeout) == 0 ? 0 : after(timespec_ns(timeout)), mask));
}
