/* Children. The library's threads are not in a child of fork(2), so its copy of the library is dead.
 * A child that uses no socket of the stack's pays nothing for that. At the first use of one, by
 * OUTBAND_FORK:
 *
 *   again   a second copy of the library is loaded, with a stack of its own, and all sockets that
 *           were inherited are opened in it: options, groups, names. What waits
 *           in a queue is of both: see kept.c
 *   inband  all sockets that were inherited become the kernel's
 *   fail    the child says so and aborts
 */
#include "shim.h"

#include <fcntl.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RCVPRIORITY 82 /* SO_RCVPRIORITY of Linux 6.14 */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void before(void)
{
	enter();
	pthread_mutex_lock(&table_lock);
	for (int fd = 0; lib.state == 1 && settings.fork == FORK_AGAIN && fd < TABLE; fd++)
		if (table[fd] && table[fd]->stale == generation)
			keep_queue(table[fd]);
}

static void after_in_parent(void)
{
	pthread_mutex_unlock(&table_lock);
	leave();
}

/* In the child all that is done for now is to let go of what is the parent's. */
static void after_in_child(void)
{
	pthread_mutex_unlock(&table_lock);
	table_child();
	if (lib.state == 1) {
		atomic_fetch_add(&generation, 1);
		me.tokens = 0;
		pthread_mutex_init(&lock, NULL);
		library_forget();
	}
	leave();
}

void fork_begins(void)
{
	static bool done;

	if (!done)
		pthread_atfork(before, after_in_parent, after_in_child);
	done = true;
}

/* The rings of the parent's would live on in what the child has mapped. */
void unmap_rings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512];

	while (f && fgets(line, sizeof line, f))
		if (strstr(line, "socket:[") && sscanf(line, "%lx-%lx", &from, &to) == 2)
			munmap((void *)from, to - from);
	if (f)
		fclose(f);
}

/* The descriptor holds the port, which is the parent's too: the child's stack has it hold its own. A library
 * that cannot do so has another one beside it, which both must allow. */
static void share_port(struct sock *s, int fd)
{
	int on = 1;

	if (!s->held || (lib.adopt && lib.adopt(s->handle, fd) == 0))
		return;
	real()->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	lib.setsockopt(s->handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

static int reopen(struct sock *s, int fd)
{
	int code;

	code = s->handle = lib.socket(s->domain, s->type, s->protocol);
	if (code < 0)
		return code;
	for (struct option *o = s->options; o; o = o->next)
		lib.setsockopt(s->handle, o->level, o->name, o->value, o->len);
	if (s->local.sin_family == AF_INET && (s->local.sin_port || s->local.sin_addr.s_addr)) {
		share_port(s, fd);
		code = lib.bind(s->handle, (struct sockaddr *)&s->local, sizeof s->local);
	}
	if (code >= 0 && s->peer.sin_family == AF_INET)
		code = lib.connect(s->handle, (struct sockaddr *)&s->peer, sizeof s->peer);
	if (code < 0)
		lib.close(s->handle);
	return code;
}

/* The library has asked the holder for all that is known of a datagram. */
static void forget_holder(int fd)
{
	static const struct { int level, name; } asked[] = {
		{SOL_IP, IP_PKTINFO}, {SOL_IP, IP_RECVTTL}, {SOL_IP, IP_RECVTOS}, {SOL_IP, IP_RECVOPTS}, {SOL_IP, IP_RECVERR},
		{SOL_SOCKET, SO_TIMESTAMPNS_NEW}, {SOL_UDP, UDP_GRO}, {SOL_SOCKET, SO_RCVMARK}, {SOL_SOCKET, RCVPRIORITY},
	};
	int off = 0;

	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
		real()->setsockopt(fd, asked[i].level, asked[i].name, &off, sizeof off);
}

/* What holds the port drops what comes by a ring: there is none any more, once the parent has gone, which it may be
 * about to do. While it has not, what keeps the kernel off its datagrams keeps this socket off them too. */
static void become_inband(struct sock *s, int fd, const char *why)
{
	int none = 0;

	if (s->held)
		forget_holder(fd);
	say("fd %d goes in-band after fork: %s", fd, why);
	real()->setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
	if (!s->held && s->local.sin_family == AF_INET)
		real()->bind(fd, (struct sockaddr *)&s->local, sizeof s->local);
	if (s->peer.sin_family == AF_INET)
		real()->connect(fd, (struct sockaddr *)&s->peer, sizeof s->peer);
	make_inband(s, why);
}

static void revive_all(const char *why)
{
	int code;

	for (int fd = 0; fd < TABLE; fd++) {
		struct sock *s = table[fd];

		if (!s || s->stale == generation)
			continue;
		s->stale = generation;
		code = why ? 0 : reopen(s, fd);
		if (!why && code >= 0) {
			s->held = false;
			epoll_reopened(s);
			if (s->side == OUT_OF_BAND)
				settle_locked(s, fd);
			continue;
		}
		s->handle = -1;
		become_inband(s, fd, why ? why : strerror(-code));
	}
}

/* Makes the sockets of a child usable, all at once. Returns what fd is then. */
struct sock *revive(struct sock *s, int fd)
{
	const char *why = NULL;
	int saved = errno;

	if (shared_memory())
		return NULL; /* after vfork(2): the parent waits until exec */
	if (settings.fork == FORK_FAIL) {
		say("fd %d is used after fork, and OUTBAND_FORK=fail", fd);
		abort();
	}
	pthread_mutex_lock(&lock);
	if (s->stale != generation) {
		if (settings.fork == FORK_INBAND)
			why = "OUTBAND_FORK=inband";
		else if (!library_start())
			why = "no stack";
		enter();
		pthread_mutex_lock(&table_lock);
		revive_all(why);
		pthread_mutex_unlock(&table_lock);
		leave();
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return find(fd);
}
