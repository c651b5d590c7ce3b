/* Sleeping, in the kernel, on what the library names. Time-outs, masks and signals are
 * the kernel's then. */
#include "shim.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECOND 1000000000LL

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

int64_t after(int64_t ns)
{
	int64_t now = now_ns();

	return ns < 0 || ns > NEVER - now ? NEVER : now + ns;
}

int64_t timespec_ns(const struct timespec *t)
{
	return t->tv_sec >= NEVER / SECOND ? NEVER : t->tv_sec * SECOND + t->tv_nsec;
}

/* The kernel reads the time-out when it is called: a handler that has run before that
 * has set it to 0, so that no signal is slept through. libc's ppoll(2) would copy it. */
static int sleep_in_kernel(struct pollfd *p, unsigned int n, int64_t until, const sigset_t *mask, unsigned int ran)
{
	int64_t left = until == NEVER ? NEVER : until - now_ns();
	int type, got;

	if (left < 0)
		left = 0;
	me.sleep.tv_sec = left / SECOND;
	me.sleep.tv_nsec = left % SECOND;
	atomic_signal_fence(memory_order_seq_cst);
	if (me.ran != ran)
		me.sleep.tv_sec = me.sleep.tv_nsec = 0;
	/* As libc's own calls do that can be cancelled. */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	got = (int)real()->syscall(SYS_ppoll, p, (long)n, &me.sleep, mask, 8L);
	pthread_setcanceltype(type, NULL);
	return got < 0 ? -errno : got;
}

static int arm(struct ob_want *want, unsigned int n, struct pollfd *p, unsigned int *count, int64_t *until, const char *frame)
{
	int fds[ARMS], token;

	*count = ARMS;
	enter();
	thread_tidy(frame);
	token = lib.arm(want, n, fds, count, until);
	if (token >= 0 && me.tokens < (int)(sizeof me.owed / sizeof me.owed[0]))
		me.owed[me.tokens++] = (struct owed){token, frame};
	leave();
	for (unsigned int i = 0; token >= 0 && i < *count; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	return token;
}

static int disarm(int token, struct ob_want *want, unsigned int n)
{
	int ready;

	enter();
	if (me.tokens && me.owed[me.tokens - 1].token == token)
		me.tokens--;
	ready = lib.disarm(token, want, n);
	leave();
	return ready;
}

__attribute__((noinline)) int nap(struct ob_want *want, unsigned int n, struct pollfd *files, unsigned int m, int64_t deadline,
				  const sigset_t *mask, unsigned int ran)
{
	unsigned int count;
	int64_t until = NEVER;
	int token, got, ready;

	for (;;) {
		token = arm(want, n, files + m, &count, &until, __builtin_frame_address(0));
		if (token < 0)
			return token;
		got = sleep_in_kernel(files, m + count, until < deadline ? until : deadline, mask, ran);
		ready = disarm(token, want, n);
		for (unsigned int i = 0; got >= 0 && i < m; i++)
			ready += files[i].revents != 0;
		if (ready)
			return ready;
		if (got < 0 && got != -EINTR)
			return got;
		if (got == -EINTR || me.ran != ran)
			return -EINTR;
		if (deadline != NEVER && now_ns() >= deadline)
			return 0;
	}
}

/* A call is restarted as the kernel would: not if it has a time-out, or if a handler without
 * SA_RESTART has run since it began. */
int interrupted(struct call *c)
{
	if (me.ran == c->ran)
		return 0;
	if (c->timed || me.hard != c->hard)
		return -EINTR;
	c->ran = me.ran;
	return 0;
}

int wait_one(struct sock *s, short events, struct call *c)
{
	struct ob_want want = {.handle = s->handle, .events = events};
	struct pollfd files[ARMS];
	int got = interrupted(c);

	if (got < 0)
		return got;
	got = nap(&want, 1, files, 0, c->deadline, NULL, c->ran);
	if (got == -EINTR)
		return me.ran == c->ran ? -EINTR : interrupted(c);
	if (got == 0)
		return -EAGAIN;
	return got < 0 ? got : 0;
}
