/* epoll(7) with sockets of the stack's in it. In the kernel's own epoll a descriptor that the
 * library names stands in the place of each (ob_pollfd), with the program's data, so that edges,
 * EPOLLONESHOT, nested epolls and other threads are the kernel's to serve. A thread that waits does better for sockets
 * that are level-triggered: it looks at them in the library, spins there, and sleeps on what the library names
 * and on the epoll itself. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURNS 8 /* in one of which the kernel is asked though sockets of the stack's are ready */
#define KERNELS (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE)

struct member {
	struct member *of_sock, *of_set; /* the next ones */
	struct sock *s;
	struct epoll *e;
	int fd, pollfd;
	struct epoll_event ev;
};

struct epoll {
	int fd, fds;
	unsigned int n, turn;
	struct member *members;
};

static _Atomic(struct epoll *) epolls[TABLE];

static struct epoll *find_epoll(int fd)
{
	return (unsigned int)fd < TABLE && !me.inside ? atomic_load_explicit(&epolls[fd], memory_order_acquire) : NULL;
}

static void lock(void)
{
	enter();
	pthread_mutex_lock(&table_lock);
}

static void unlock(void)
{
	pthread_mutex_unlock(&table_lock);
	leave();
}

static void unlink_member(struct member **list, struct member *m, bool of_sock)
{
	for (; *list; list = of_sock ? &(*list)->of_sock : &(*list)->of_set) {
		if (*list == m) {
			*list = of_sock ? m->of_sock : m->of_set;
			return;
		}
	}
}

static void remove_member(struct member *m)
{
	unlink_member(&m->s->members, m, true);
	unlink_member(&m->e->members, m, false);
	m->e->n--;
	free(m);
}

static struct member *member_of(struct epoll *e, int fd)
{
	for (struct member *m = e ? e->members : NULL; m; m = m->of_set)
		if (m->fd == fd)
			return m;
	return NULL;
}

static void add_member(int epfd, struct sock *s, int fd, int pollfd, const struct epoll_event *ev)
{
	struct epoll *e = epolls[epfd];
	struct member *m = calloc(1, sizeof *m);

	if (!e && (e = calloc(1, sizeof *e))) {
		e->fd = epfd;
		e->fds = 1;
		atomic_store(&epolls[epfd], e);
	}
	if (!e || !m) {
		free(m);
		return; /* the kernel's epoll has it all the same */
	}
	*m = (struct member){.s = s, .e = e, .fd = fd, .pollfd = pollfd, .ev = *ev, .of_sock = s->members, .of_set = e->members};
	s->members = e->members = m;
	e->n++;
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct sock *s = find(fd);
	struct member *m;
	int pollfd, code;

	if (!s || (unsigned int)epfd >= TABLE)
		return real()->epoll_ctl(epfd, op, fd, ev);
	lock();
	pollfd = lib.pollfd(s->handle);
	code = pollfd < 0 ? fail(pollfd) : real()->epoll_ctl(epfd, op, pollfd, ev);
	if (code == 0 && !shared_memory()) {
		m = member_of(epolls[epfd], fd);
		if (op == EPOLL_CTL_DEL && m)
			remove_member(m);
		else if (op == EPOLL_CTL_ADD)
			add_member(epfd, s, fd, pollfd, ev);
		else if (op == EPOLL_CTL_MOD && m)
			m->ev = *ev;
	}
	unlock();
	return code;
}

void epoll_socket_closed(struct sock *s)
{
	while (s->members)
		remove_member(s->members);
}

void epoll_moved(struct sock *s, int fd)
{
	struct member *m;

	while ((m = s->members)) {
		real()->epoll_ctl(m->e->fd, EPOLL_CTL_DEL, m->pollfd, NULL);
		real()->epoll_ctl(m->e->fd, EPOLL_CTL_ADD, m->fd >= 0 ? m->fd : fd, &m->ev);
		remove_member(m);
	}
}

/* In a child: the parent's descriptors in the epoll, which both have, stay the parent's. */
void epoll_reopened(struct sock *s)
{
	for (struct member *m = s->members; m; m = m->of_sock) {
		m->pollfd = lib.pollfd(s->handle);
		if (m->pollfd >= 0)
			real()->epoll_ctl(m->e->fd, EPOLL_CTL_ADD, m->pollfd, &m->ev);
	}
}

void epoll_closed(int fd)
{
	struct epoll *e;

	if ((unsigned int)fd >= TABLE || !epolls[fd] || shared_memory())
		return;
	lock();
	e = atomic_exchange(&epolls[fd], NULL);
	if (e && --e->fds == 0) {
		while (e->members)
			remove_member(e->members);
		free(e);
	} else if (e && e->fd == fd) {
		for (int i = 0; i < TABLE; i++)
			if (epolls[i] == e)
				e->fd = i;
	}
	unlock();
}

void epoll_copied(int from, int to)
{
	if ((unsigned int)from >= TABLE || (unsigned int)to >= TABLE || !epolls[from] || shared_memory())
		return;
	lock();
	if (epolls[from]) {
		epolls[from]->fds++;
		atomic_store(&epolls[to], epolls[from]);
	}
	unlock();
}

/* A turn of waiting: the members as they are now. */
struct turn {
	int epfd, max;
	struct epoll_event *events; /* of the program */
	unsigned int n, first;
	struct ob_want *want;
	struct epoll_event *asked;
	bool kept; /* something waits since fork */
};

#define SMALL 64

static void copy_members(struct turn *t, struct epoll *e, unsigned int room)
{
	t->n = 0;
	t->kept = false;
	for (struct member *m = e->members; m && t->n < room; m = m->of_set, t->n++) {
		t->want[t->n] = (struct ob_want){.handle = m->s->handle, .events = (short)(m->ev.events & 0x7fff)};
		t->asked[t->n] = m->ev;
		t->kept |= kept_waits(m->s);
	}
	t->first = t->n ? e->turn++ % t->n : 0;
}

/* Corrects what the kernel says of the library's descriptors to what is so of their sockets. */
static int correct(struct turn *t, int n)
{
	int kept = 0;

	for (int i = 0; i < n; i++) {
		struct epoll_event ev = t->events[i];

		for (unsigned int k = 0; k < t->n; k++) {
			if (t->asked[k].data.u64 != ev.data.u64)
				continue;
			enter();
			ev.events = (uint32_t)lib.events(t->want[k].handle) & (t->asked[k].events | EPOLLERR | EPOLLHUP);
			leave();
			t->want[k].revents = 0; /* it is told */
			break;
		}
		if (ev.events)
			t->events[kept++] = ev;
	}
	return kept;
}

/* Adds sockets that are level-triggered and ready. */
static int add_ready(struct turn *t, int n)
{
	for (unsigned int i = 0; i < t->n && n < t->max; i++) {
		unsigned int k = (t->first + i) % t->n;

		if (t->want[k].revents && !(t->asked[k].events & KERNELS))
			t->events[n++] = (struct epoll_event){.events = (uint16_t)t->want[k].revents, .data = t->asked[k].data};
	}
	return n;
}

/* What is ready now. */
static int collect(struct turn *t)
{
	bool level = false;
	int n = 0;

	enter();
	lib.spin(t->want, t->n, 0, NULL);
	leave();
	for (unsigned int k = 0; k < t->n; k++) {
		level |= t->want[k].revents && !(t->asked[k].events & KERNELS);
		if (t->want[k].revents && (t->asked[k].events & KERNELS))
			t->want[k].events = 0; /* the next wait is for an edge, which it has had */
	}
	if (!level || t->first % TURNS == 0) {
		n = real()->epoll_wait(t->epfd, t->events, t->max, 0);
		if (n < 0)
			return -errno;
		n = correct(t, n);
	}
	return level ? add_ready(t, n) : n;
}

static int add_kept(struct turn *t, struct epoll *e)
{
	int n = 0;

	lock();
	for (struct member *m = e->members; m && n < t->max; m = m->of_set)
		if ((m->ev.events & EPOLLIN) && kept_waits(m->s))
			t->events[n++] = (struct epoll_event){.events = EPOLLIN, .data = m->ev.data};
	unlock();
	return n;
}

static int spin_once(struct turn *t, int64_t deadline, unsigned int ran)
{
	int64_t budget = lib.always ? 20000 : settings.spin < 0 ? OB_SPIN_DEFAULT : settings.spin, left;
	int n;

	if (deadline != NEVER && budget > 0 && (left = deadline - now_ns()) < budget)
		budget = left < 0 ? 0 : left;
	enter();
	n = me.ran != ran ? 0 : lib.spin(t->want, t->n, budget, &me.cut);
	leave();
	return n;
}

static int wait_turns(struct turn *t, struct epoll *e, unsigned int room, int64_t deadline, const sigset_t *mask)
{
	struct pollfd files[1 + ARMS];
	unsigned int ran = me.ran;
	int n;

	for (;;) {
		lock();
		copy_members(t, e, room);
		unlock();
		n = collect(t);
		if (n == 0 && unlikely(t->kept))
			n = add_kept(t, e);
		if (n || deadline == 0)
			return n;
		if (deadline != NEVER && now_ns() >= deadline)
			return 0;
		if (!mask) {
			n = spin_once(t, deadline, ran);
			if (me.ran != ran)
				return -EINTR;
			if (n > 0 || lib.always)
				continue;
		}
		files[0] = (struct pollfd){.fd = t->epfd, .events = POLLIN};
		n = nap(t->want, t->n, files, 1, deadline, mask, ran);
		if (n < 0)
			return n;
	}
}

static int wait_epoll(int epfd, struct epoll *e, struct epoll_event *events, int max, int64_t deadline, const sigset_t *mask)
{
	struct ob_want want[SMALL];
	struct epoll_event asked[SMALL];
	struct turn t = {.epfd = epfd, .max = max, .events = events, .want = want, .asked = asked};
	unsigned int room = e->n + 16;
	int n;

	if (max <= 0 || (size_t)max > INT32_MAX / sizeof *events)
		return -EINVAL;
	if (room <= SMALL + 16)
		return wait_turns(&t, e, SMALL, deadline, mask);
	enter();
	t.want = malloc(room * sizeof *t.want);
	t.asked = malloc(room * sizeof *t.asked);
	leave();
	n = t.want && t.asked ? wait_turns(&t, e, room, deadline, mask) : -ENOMEM;
	enter();
	free(t.want);
	free(t.asked);
	leave();
	return n;
}

static int64_t deadline_ms(int timeout) { return timeout == 0 ? 0 : after(timeout < 0 ? -1 : timeout * 1000000LL); }

EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	struct epoll *e = find_epoll(epfd);

	if (!e || !e->n)
		return real()->epoll_wait(epfd, events, max, timeout);
	return (int)result(wait_epoll(epfd, e, events, max, deadline_ms(timeout), NULL));
}

EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	struct epoll *e = find_epoll(epfd);

	if (!e || !e->n)
		return real()->epoll_pwait(epfd, events, max, timeout, mask);
	return (int)result(wait_epoll(epfd, e, events, max, deadline_ms(timeout), mask));
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask)
{
	struct epoll *e = find_epoll(epfd);
	int64_t deadline = NEVER;

	if (!e || !e->n)
		return real()->epoll_pwait2(epfd, events, max, timeout, mask);
	if (timeout)
		deadline = timespec_ns(timeout) == 0 ? 0 : after(timespec_ns(timeout));
	return (int)result(wait_epoll(epfd, e, events, max, deadline, mask));
}
