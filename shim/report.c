/* What became of the program's sockets: at its end, and on SIGUSR1. */
#include "shim.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static char closed[SHOWN][192]; /* of sockets that are closed or in-band; table_lock guards them */
static unsigned int closures;

static const char *kind(const struct sock *s)
{
	if (s->type == SOCK_RAW)
		return "raw";
	return s->protocol == IPPROTO_ICMP ? "ping" : "udp";
}

static void name(char *buf, size_t n, const struct sockaddr_in *a)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &a->sin_addr, text, sizeof text);
	snprintf(buf, n, "%s:%u", text, ntohs(a->sin_port));
}

static void way(char *buf, size_t n, const struct sock *s)
{
	struct ob_path p = {.size = sizeof p};
	int code = s->side == OUT_OF_BAND && s->stale == generation ? lib.where(s->handle, &p) : -1;

	if (s->side == IN_BAND)
		snprintf(buf, n, "in-band (%s)", s->why);
	else if (s->side == UNDECIDED)
		snprintf(buf, n, "not used");
	else if (code < 0 || !p.device[0])
		snprintf(buf, n, "out-of-band");
	else
		snprintf(buf, n, "out-of-band by %s%s", p.device, p.by == OB_BY_HOLDER ? ", through the kernel" : "");
}

static void describe(char *buf, size_t n, struct sock *s, int fd)
{
	char from[32] = "", to[40] = "", by[128];
	struct sockaddr_in a = {0};
	socklen_t len = sizeof a;

	if (s->side == IN_BAND)
		a = s->local;
	else if (s->stale == generation && lib.getsockname(s->handle, (struct sockaddr *)&a, &len) < 0)
		a.sin_family = 0;
	if (a.sin_port)
		name(from, sizeof from, &a);
	if (s->peer.sin_family == AF_INET) {
		memcpy(to, " to ", 5);
		name(to + 4, sizeof to - 4, &s->peer);
	}
	way(by, sizeof by, s);
	snprintf(buf, n, "fd %d %s %s%s: %s: %llu in, %llu out", fd, kind(s), from[0] ? from : "-", to, by,
		 (unsigned long long)s->in, (unsigned long long)s->out);
}

/* The lock is held. */
void report_closed(struct sock *s, int fd)
{
	if (settings.report && (s->side != UNDECIDED || s->in || s->out))
		describe(closed[closures++ % SHOWN], sizeof closed[0], s, fd);
}

void report(void)
{
	char line[192];
	struct sock *s;

	if (!settings.report || lib.state == 0)
		return;
	enter();
	pthread_mutex_lock(&table_lock);
	if (closures > SHOWN)
		say("%u sockets before these", closures - SHOWN);
	for (unsigned int i = closures > SHOWN ? closures - SHOWN : 0; i < closures; i++)
		say("%s", closed[i % SHOWN]);
	for (int fd = 0; fd < TABLE; fd++) {
		s = table[fd];
		if (!s)
			continue;
		describe(line, sizeof line, s, fd);
		say("%s", line);
	}
	pthread_mutex_unlock(&table_lock);
	leave();
}

__attribute__((destructor)) static void end(void) { report(); }
