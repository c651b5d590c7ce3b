/* What waits in a socket's queue at fork(2) is of parent and child: whoever receives first gets it. It
 * is taken out of the queue before, into memory that both have. */
#include "shim.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define MOST 64       /* datagrams of a socket that are kept */
#define LARGEST 65536 /* bytes of one */
#define CONTROL 512   /* bytes of its control messages */

struct datagram {
	atomic_bool taken;
	struct sockaddr_in from;
	socklen_t fromlen;
	int flags;
	size_t len, controllen, next; /* next: offset from here; 0: the last */
	unsigned char control[CONTROL];
	unsigned char data[];
};

struct kept {
	struct datagram first __attribute__((aligned(16)));
};

static unsigned char buffer[LARGEST];

static struct datagram *following(struct datagram *d) { return d->next ? (struct datagram *)((char *)d + d->next) : NULL; }

static struct datagram *first_left(struct sock *s)
{
	struct kept *k = s->kept;
	struct datagram *d = k ? &k->first : NULL;

	while (d && atomic_load(&d->taken))
		d = following(d);
	if (k && !d)
		s->kept = NULL; /* its memory stays mapped: another thread, or process, may be reading it */
	return d;
}

bool kept_waits(struct sock *s) { return unlikely(s->kept != NULL) && first_left(s) != NULL; }

/* Makes room for a datagram behind the last one. */
static struct datagram *append(struct kept **k, struct datagram *last)
{
	size_t size = (size_t)(MOST + 1) * (LARGEST + sizeof(struct datagram)), step;
	struct datagram *d;

	if (!*k) {
		*k = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (*k == MAP_FAILED) {
			*k = NULL;
			return NULL;
		}
		return &(*k)->first;
	}
	step = (sizeof *last + last->len + 15) & ~(size_t)15;
	d = (struct datagram *)((char *)last + step);
	last->next = step;
	return d;
}

/* Takes what waits in the queue. The table's lock is held, and the library is alive. */
void keep_queue(struct sock *s)
{
	struct kept *k = NULL;
	struct datagram *d = NULL;

	if (s->type != SOCK_DGRAM || kept_waits(s))
		return;
	for (int i = 0; i < MOST; i++) {
		struct sockaddr_in from;
		unsigned char control[CONTROL];
		struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &(struct iovec){buffer, sizeof buffer},
				   .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		ssize_t n = lib.recvmsg_cut(s->handle, &m, MSG_DONTWAIT, NULL);

		if (n < 0 || !(d = append(&k, d)))
			break;
		d->from = from;
		d->fromlen = m.msg_namelen;
		d->flags = m.msg_flags;
		d->len = (size_t)n;
		d->controllen = m.msg_controllen;
		memcpy(d->control, control, m.msg_controllen);
		memcpy(d->data, buffer, (size_t)n);
	}
	if (k)
		s->kept = k;
}

static size_t scatter(const struct msghdr *m, const unsigned char *data, size_t n)
{
	size_t done = 0, part;

	for (size_t i = 0; i < m->msg_iovlen && done < n; i++) {
		part = m->msg_iov[i].iov_len < n - done ? m->msg_iov[i].iov_len : n - done;
		memcpy(m->msg_iov[i].iov_base, data + done, part);
		done += part;
	}
	return done;
}

/* Receives from what is kept: -EAGAIN if there is nothing. */
ssize_t kept_receive(struct sock *s, struct msghdr *m, int flags)
{
	struct datagram *d;
	size_t n;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	while ((d = first_left(s))) {
		if (!(flags & MSG_PEEK) && atomic_exchange(&d->taken, true))
			continue; /* the other process has it */
		n = scatter(m, d->data, d->len);
		m->msg_flags = d->flags | (n < d->len ? MSG_TRUNC : 0);
		if (m->msg_name && m->msg_namelen)
			memcpy(m->msg_name, &d->from, m->msg_namelen < d->fromlen ? m->msg_namelen : d->fromlen);
		m->msg_namelen = m->msg_name ? d->fromlen : 0;
		if (m->msg_controllen > d->controllen)
			m->msg_controllen = d->controllen;
		else if (m->msg_controllen < d->controllen)
			m->msg_flags |= MSG_CTRUNC;
		if (m->msg_control)
			memcpy(m->msg_control, d->control, m->msg_controllen);
		return (ssize_t)(flags & MSG_TRUNC ? d->len : n);
	}
	return -EAGAIN;
}
