/* The table of descriptors that are sockets of the stack's. A sock is never freed, only used
 * again: a call that looks at one while another thread closes it finds a socket, as in
 * the kernel it would find another file under the number. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Atomic(struct sock *) table[TABLE];
pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
atomic_uint generation;

static struct sock *unused;
static pid_t process; /* that the table is of */

__attribute__((constructor)) static void begin(void)
{
	process = getpid();
	settings_read();
}

void table_child(void) { process = getpid(); }

bool shared_memory(void) { return getpid() != process; }

static void free_options(struct sock *s)
{
	struct option *o;

	while ((o = s->options)) {
		s->options = o->next;
		free(o);
	}
	s->last = &s->options;
}

struct sock *sock_new(int domain, int type, int protocol)
{
	struct sock *s;
	int handle;

	enter();
	handle = lib.socket(domain, type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), protocol);
	if (handle < 0) {
		leave();
		return NULL;
	}
	pthread_mutex_lock(&table_lock);
	s = unused;
	if (s)
		unused = s->next;
	else
		s = malloc(sizeof *s);
	pthread_mutex_unlock(&table_lock);
	if (s) {
		memset(s, 0, sizeof *s);
		*s = (struct sock){.handle = handle, .domain = domain, .type = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC),
				   .protocol = protocol, .nonblock = (type & SOCK_NONBLOCK) != 0, .stale = generation};
		s->last = &s->options;
	} else {
		lib.close(handle);
	}
	leave();
	return s;
}

/* The last descriptor of a socket is gone. The lock is held. */
static void sock_free(struct sock *s, int fd)
{
	report_closed(s, fd);
	epoll_socket_closed(s);
	if (s->side != IN_BAND && s->stale == generation)
		lib.close(s->handle);
	s->handle = -1;
	free_options(s);
	s->next = unused;
	unused = s;
}

static void drop_locked(int fd)
{
	struct sock *s = atomic_exchange(&table[fd], NULL);

	if (s && --s->fds == 0)
		sock_free(s, fd);
}

void table_drop(int fd)
{
	if ((unsigned int)fd >= TABLE || !table[fd] || shared_memory())
		return;
	enter();
	pthread_mutex_lock(&table_lock);
	drop_locked(fd);
	pthread_mutex_unlock(&table_lock);
	leave();
}

void table_set(int fd, struct sock *s)
{
	if ((unsigned int)fd >= TABLE || shared_memory())
		return;
	enter();
	pthread_mutex_lock(&table_lock);
	if (s)
		s->fds++;
	drop_locked(fd);
	atomic_store(&table[fd], s);
	pthread_mutex_unlock(&table_lock);
	leave();
}

void keep_option(struct sock *s, int level, int name, const void *value, socklen_t len)
{
	struct option *o = malloc(sizeof *o + len);

	if (!o)
		return;
	*o = (struct option){.level = level, .name = name, .len = len};
	if (len)
		memcpy(o->value, value, len);
	pthread_mutex_lock(&table_lock);
	*s->last = o;
	s->last = &o->next;
	pthread_mutex_unlock(&table_lock);
}

/* Makes a socket the kernel's: the descriptor gets its options, and is libc's from now on. The
 * lock is held. */
void make_inband(struct sock *s, const char *why)
{
	strncpy(s->why, why, sizeof s->why - 1);
	for (int fd = 0; fd < TABLE && s->fds; fd++) {
		if (table[fd] != s)
			continue;
		for (struct option *o = s->options; o; o = o->next)
			real()->setsockopt(fd, o->level, o->name, o->value, o->len);
		free_options(s);
		epoll_moved(s, fd);
		s->side = IN_BAND;
		if (s->handle >= 0)
			lib.close(s->handle);
		for (; fd < TABLE && s->fds; fd++)
			if (table[fd] == s)
				drop_locked(fd);
	}
}

bool to_inband(struct sock *s, const char *why)
{
	bool done = false;

	enter();
	pthread_mutex_lock(&table_lock);
	if (s->side == UNDECIDED && s->fds) {
		make_inband(s, why);
		done = true;
	}
	pthread_mutex_unlock(&table_lock);
	leave();
	return done;
}
