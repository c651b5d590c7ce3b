/* Sending and receiving. */
#include "shim.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sends, as the program has said whose the socket is by now, and sleeps while there is no room. */

struct outgoing {
	const struct msghdr *one; /* or */
	struct mmsghdr *many;
	unsigned int n;
};

static ssize_t send_once(struct sock *s, const struct outgoing *o, int flags)
{
	ssize_t n;

	enter();
	if (!o->one) /* nor is there one of many, maybe: libuv asks so whether the call is there */
		n = lib.sendmmsg(s->handle, o->many, o->n, flags | MSG_DONTWAIT);
	else if (o->one->msg_iov && o->one->msg_iovlen == 1 && !o->one->msg_controllen)
		n = lib.sendto(s->handle, o->one->msg_iov->iov_base, o->one->msg_iov->iov_len, flags | MSG_DONTWAIT, o->one->msg_name, o->one->msg_namelen);
	else
		n = lib.sendmsg(s->handle, o->one, flags | MSG_DONTWAIT);
	leave();
	return n;
}

static ssize_t send_out(struct sock *s, int fd, const struct outgoing *o, int flags)
{
	struct call c;
	bool begun = false;
	ssize_t n;
	int code;

	for (;;) {
		n = send_once(s, o, flags);
		if (n >= 0) {
			atomic_fetch_add_explicit(&s->out, o->one ? 1 : (unsigned long long)n, memory_order_relaxed);
			if (unlikely(!s->settled))
				settle(s, fd);
			return n;
		}
		if (n == -ENOENT && leave_library(s, fd))
			return o->one ? real()->sendmsg(fd, o->one, flags) : real()->sendmmsg(fd, o->many, o->n, flags);
		if (n != -EAGAIN || (flags & MSG_DONTWAIT) || s->nonblock)
			return fail((int)n);
		if (!begun)
			c = call_begins(s->sndtimeo);
		begun = true;
		code = wait_one(s, POLLOUT, &c);
		if (code < 0)
			return fail(code);
	}
}

/* Returns the socket to send by; NULL: it is libc's, or becomes so by where it sends to. */
static inline struct sock *sender(int fd, const void *to, socklen_t len)
{
	struct sock *s = find(fd);

	if (s && unlikely(atomic_load_explicit(&s->side, memory_order_relaxed) == UNDECIDED)) {
		decide(s, fd, to, len, false);
		s = find(fd);
	}
	return s;
}

static ssize_t send_vector(struct sock *s, int fd, const struct iovec *iov, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	struct msghdr m = {.msg_name = (void *)to, .msg_namelen = to ? len : 0, .msg_iov = (struct iovec *)iov, .msg_iovlen = n};

	return send_out(s, fd, &(struct outgoing){.one = &m}, flags);
}

EXPORT ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	struct sock *s = sender(fd, to, len);

	return s ? send_vector(s, fd, &(struct iovec){(void *)buf, n}, 1, flags, to, len) : real()->sendto(fd, buf, n, flags, to, len);
}

EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct sock *s = sender(fd, NULL, 0);

	return s ? send_vector(s, fd, &(struct iovec){(void *)buf, n}, 1, flags, NULL, 0) : real()->send(fd, buf, n, flags);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	struct sock *s = sender(fd, NULL, 0);

	return s ? send_vector(s, fd, &(struct iovec){(void *)buf, n}, 1, 0, NULL, 0) : real()->write(fd, buf, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	struct sock *s = sender(fd, NULL, 0);

	if (!s)
		return real()->writev(fd, iov, n);
	return n < 0 || n > IOV_MAX ? fail(-EINVAL) : send_vector(s, fd, iov, (size_t)n, 0, NULL, 0);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct sock *s = sender(fd, m->msg_name, m->msg_namelen);

	return s ? send_out(s, fd, &(struct outgoing){.one = m}, flags) : real()->sendmsg(fd, m, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	struct sock *s = sender(fd, m && n ? m->msg_hdr.msg_name : NULL, m && n ? m->msg_hdr.msg_namelen : 0);

	if (!s)
		return real()->sendmmsg(fd, m, n, flags);
	return (int)send_out(s, fd, &(struct outgoing){.many = m, .n = n}, flags);
}

/* Linux makes of each page of a file a datagram. */
EXPORT ssize_t sendfile(int fd, int in, off_t *offset, size_t n)
{
	char page[4096];
	ssize_t sent = 0, got, gone;
	struct sock *s = sender(fd, NULL, 0);

	if (!s)
		return real()->sendfile(fd, in, offset, n);
	while ((size_t)sent < n) {
		size_t want = n - (size_t)sent < sizeof page ? n - (size_t)sent : sizeof page;

		got = offset ? pread(in, page, want, *offset) : real()->read(in, page, want);
		if (got <= 0)
			return sent ? sent : got;
		gone = send_vector(s, fd, &(struct iovec){page, (size_t)got}, 1, 0, NULL, 0);
		if (gone < 0)
			return sent ? sent : gone;
		if (offset)
			*offset += gone;
		sent += gone;
	}
	return sent;
}

/* Receives: the library looks and spins; what sleeps, sleeps here. */

static inline bool may_wait(const struct sock *s, int flags)
{
	return !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) && !atomic_load_explicit(&s->nonblock, memory_order_relaxed);
}

/* A spin without end is done here if the receive has an end. */
static bool spins_here(const struct call *c) { return lib.always && c->timed; }

static int spin_here(struct sock *s, struct call *c)
{
	struct ob_want want = {.handle = s->handle, .events = POLLIN};
	int64_t left = c->deadline - now_ns();
	int ready = -EINTR;

	if (left <= 0)
		return -EAGAIN;
	enter();
	if (me.ran == c->ran)
		ready = lib.spin(&want, 1, left, &me.cut);
	leave();
	return ready == -EINTR ? interrupted(c) : 0;
}

/* The thread is inside: a handler that has run before must be told of before the library spins, one that
 * comes from here on cuts it short. */
static inline int receive_flags(const struct sock *s, int flags, const struct call *c)
{
	return may_wait(s, flags) && !spins_here(c) && me.ran == c->ran ? flags : flags | MSG_DONTWAIT;
}

/* Returns 0 if a receive that has got code is to be tried again. */
static int receive_waits(struct sock *s, int code, int flags, struct call *c)
{
	if (code == -EINTR)
		return interrupted(c);
	if (code != -EAGAIN || !may_wait(s, flags))
		return code;
	if (spins_here(c))
		return spin_here(s, c);
	return wait_one(s, POLLIN, c);
}

static ssize_t receive(struct sock *s, struct msghdr *m, int flags)
{
	struct call c;
	socklen_t namelen = m->msg_namelen;
	size_t controllen = m->msg_controllen;
	ssize_t n;
	int code;

	c = call_begins(atomic_load_explicit(&s->rcvtimeo, memory_order_relaxed));
	if (unlikely(s->kept != NULL)) {
		n = kept_receive(s, m, flags);
		if (n >= 0)
			return n;
	}
	for (;;) {
		enter();
		n = lib.recvmsg_cut(s->handle, m, receive_flags(s, flags, &c), &me.cut);
		leave();
		if (n >= 0) {
			if (!(flags & (MSG_PEEK | MSG_ERRQUEUE)))
				atomic_fetch_add_explicit(&s->in, 1, memory_order_relaxed);
			return n;
		}
		code = receive_waits(s, (int)n, flags, &c);
		if (code < 0)
			return fail(code);
		m->msg_namelen = namelen;
		m->msg_controllen = controllen;
	}
}

static ssize_t receive_vector(struct sock *s, const struct iovec *iov, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
	struct msghdr m = {.msg_name = from, .msg_namelen = from && len ? *len : 0, .msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t got = receive(s, &m, flags);

	if (got >= 0 && from && len)
		*len = m.msg_namelen;
	return got;
}

EXPORT ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
	struct sock *s = find(fd);

	return s ? receive_vector(s, &(struct iovec){buf, n}, 1, flags, from, len) : real()->recvfrom(fd, buf, n, flags, from, len);
}

EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct sock *s = find(fd);

	return s ? receive_vector(s, &(struct iovec){buf, n}, 1, flags, NULL, NULL) : real()->recv(fd, buf, n, flags);
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	struct sock *s = find(fd);

	if (!s)
		return real()->read(fd, buf, n);
	return n == 0 ? 0 : receive_vector(s, &(struct iovec){buf, n}, 1, 0, NULL, NULL);
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
	struct sock *s = find(fd);
	size_t room = 0;

	if (!s)
		return real()->readv(fd, iov, n);
	if (n < 0 || n > IOV_MAX)
		return fail(-EINVAL);
	for (int i = 0; i < n; i++)
		room += iov[i].iov_len;
	return room == 0 ? 0 : receive_vector(s, iov, (size_t)n, 0, NULL, NULL);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct sock *s = find(fd);

	return s ? receive(s, m, flags) : real()->recvmsg(fd, m, flags);
}

/* As the kernel, it looks at the time-out after each datagram only. */
EXPORT int recvmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags, struct timespec *timeout)
{
	struct sock *s = find(fd);
	struct call c;
	int64_t until = NEVER;
	unsigned int got = 0;
	int code = 0, f;

	if (!s)
		return real()->recvmmsg(fd, m, n, flags, timeout);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
			return fail(-EINVAL);
		until = after(timespec_ns(timeout));
	}
	c = call_begins(s->rcvtimeo);
	for (; s->kept && got < n; got++) {
		ssize_t len = kept_receive(s, &m[got].msg_hdr, flags);

		if (len < 0)
			break;
		m[got].msg_len = (unsigned int)len;
	}
	while (got < n) {
		f = flags & ~MSG_WAITFORONE;
		if (!may_wait(s, flags) || (got && (flags & MSG_WAITFORONE)))
			f |= MSG_DONTWAIT;
		enter();
		code = lib.recvmmsg_cut(s->handle, m + got, n - got, receive_flags(s, f, &c), &me.cut);
		leave();
		if (code > 0)
			got += (unsigned int)code;
		else if ((code = receive_waits(s, code, f, &c)) < 0)
			break;
		if (until != NEVER && got && now_ns() >= until)
			break;
	}
	atomic_fetch_add_explicit(&s->in, got, memory_order_relaxed);
	if (timeout && until != NEVER) {
		int64_t left = until - now_ns();

		*timeout = (struct timespec){left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
	}
	return got || code >= 0 ? (int)got : fail(code);
}
