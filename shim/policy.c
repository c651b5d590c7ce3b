/* Which sockets are to be the stack's, and what becomes of their descriptors. */
#include "shim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Returns why sockets of a kind are not for the stack, NULL if they are. */
const char *unwanted(int domain, int type, int protocol)
{
	type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (domain != AF_INET)
		return "not IPv4";
	if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMP))
		return NULL;
	if (type == SOCK_RAW && protocol == IPPROTO_ICMP)
		return NULL;
	return "neither UDP nor ICMP";
}

static bool wanted_port(in_port_t port)
{
	for (int i = 0; i < settings.ports; i++)
		if (settings.only[i] == ntohs(port))
			return true;
	return settings.ports == 0;
}

static bool is_loopback(struct in_addr a) { return ntohl(a.s_addr) >> 24 == 127; }

/* An own address is known to the stack only: what is bound to another is the kernel's. */
static bool is_foreign(struct in_addr a)
{
	struct in_addr own;
	char text[INET_ADDRSTRLEN];
	size_t n;

	if (!lib.own || a.s_addr == INADDR_ANY || IN_MULTICAST(ntohl(a.s_addr)) || a.s_addr == INADDR_BROADCAST)
		return false;
	n = strcspn(settings.address, "/");
	if (n >= sizeof text)
		return false;
	memcpy(text, settings.address, n);
	text[n] = 0;
	return inet_pton(AF_INET, text, &own) == 1 && own.s_addr != a.s_addr;
}

/* A bind to an address and a connect to, or a send to one tell what a socket is for. */
void decide(struct sock *s, int fd, const struct sockaddr *a, socklen_t len, bool binds)
{
	struct sockaddr_in in;
	int undecided = UNDECIDED;

	(void)fd;
	if (atomic_load_explicit(&s->side, memory_order_relaxed) != UNDECIDED)
		return;
	if (a && len >= sizeof in && a->sa_family == AF_INET) {
		memcpy(&in, a, sizeof in);
		if (is_loopback(in.sin_addr) && !settings.loopback) {
			to_inband(s, "loopback");
			return;
		}
		if (binds && is_foreign(in.sin_addr)) {
			to_inband(s, "bound to an address of the kernel's");
			return;
		}
		if (s->type == SOCK_DGRAM && !wanted_port(in.sin_port)) {
			to_inband(s, "port not in --only");
			return;
		}
	}
	atomic_compare_exchange_strong(&s->side, &undecided, OUT_OF_BAND);
}

/* After chroot(2) the library does not find /proc, without which it can open no port: the
 * socket becomes the kernel's, if it has none yet. */
bool leave_library(struct sock *s, int fd)
{
	static const char why[] = "there is no /proc here";

	enter();
	pthread_mutex_lock(&table_lock);
	if (table[fd] != s || s->settled) {
		pthread_mutex_unlock(&table_lock);
		leave();
		return false;
	}
	make_inband(s, why);
	pthread_mutex_unlock(&table_lock);
	leave();
	say("fd %d goes in-band: %s", fd, why);
	return true;
}

/* Keeps under which name the socket is known, for a child, and makes the descriptor what holds the port. The
 * lock is held. */
void settle_locked(struct sock *s, int fd)
{
	socklen_t len = sizeof s->local;
	int holder, flags;

	if (lib.getsockname(s->handle, (struct sockaddr *)&s->local, &len) < 0)
		s->local.sin_family = 0;
	holder = lib.holder ? lib.holder(s->handle) : -1;
	s->settled = true;
	if (holder < 0 || s->held)
		return;
	s->held = true;
	real()->fcntl(holder, F_SETFL, real()->fcntl(fd, F_GETFL));
	for (int i = s->fds == 1 ? fd : 0; i < TABLE; i++) {
		if (table[i] != s)
			continue;
		flags = real()->fcntl(i, F_GETFD);
		real()->dup3(holder, i, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		if (s->fds == 1)
			break;
	}
}

/* Once the socket has a port, the descriptor becomes the in-band socket that holds the port, on
 * shared addresses: what others do with it, /proc and programs that are executed find what they expect. */
void settle(struct sock *s, int fd)
{
	enter();
	pthread_mutex_lock(&table_lock);
	if (table[fd] == s)
		settle_locked(s, fd);
	pthread_mutex_unlock(&table_lock);
	leave();
}
