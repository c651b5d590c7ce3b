/* wait.c DEVICE PEER - waiting outside of the library: cut, spin, arm, disarm, poll, epoll and
 * the poll descriptor, with an echo at PEER, port 7. It says what is not as it should be. */
#include "calls.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>

static int failed;
static struct sockaddr_in peer;
static volatile unsigned int cut;
static volatile unsigned int signals, urgent;

#define WANT(what, got, want)                                                              \
	do {                                                                               \
		long g_ = (long)(got), w_ = (long)(want);                                  \
		if (g_ != w_) {                                                            \
			printf("%s:%d: %s: %ld, want %ld\n", __FILE__, __LINE__, what, g_, w_); \
			failed = 1;                                                        \
		}                                                                          \
	} while (0)

static void alarmed(int sig)
{
	(void)sig;
	signals++;
	cut = 1;
}

static void urged(int sig)
{
	(void)sig;
	urgent++;
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void in(int us)
{
	struct itimerval t = {.it_value = {.tv_usec = us}};

	setitimer(ITIMER_REAL, &t, NULL);
}

static int udp(void)
{
	int s = ob_socket(AF_INET, SOCK_DGRAM, 0);
	int e;

	if (s < 0)
		die("socket", s);
	e = ob_connect(s, (struct sockaddr *)&peer, sizeof(peer));
	if (e)
		die("connect", e);
	return s;
}

/* sleeps in ppoll on what the library says, until one is ready. */
static int nap(struct ob_want *w, unsigned int n, int extra, int send)
{
	for (;;) {
		struct pollfd on[16];
		int fds[16], token, ready;
		unsigned int nfds = 15, i;
		int64_t until;

		token = ob_arm(w, n, fds, &nfds, &until);
		if (token < 0)
			return token;
		if (send >= 0) /* now that the library counts on this thread */
			WANT("send", ob_send(send, "x", 1, 0), 1);
		send = -1;
		for (i = 0; i < nfds; i++)
			on[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
		on[nfds] = (struct pollfd){.fd = extra, .events = POLLIN};
		if (until == INT64_MAX) {
			ready = ppoll(on, nfds + 1, NULL, NULL);
		} else {
			int64_t d = until - now();
			struct timespec t = {d > 0 ? d / 1000000000 : 0, d > 0 ? d % 1000000000 : 0};

			ready = ppoll(on, nfds + 1, &t, NULL);
		}
		if (ready < 0) {
			int e = -errno;

			ob_disarm(token, w, n);
			return e;
		}
		ready = ob_disarm(token, w, n);
		if (ready || on[nfds].revents)
			return ready;
	}
}

static void cuts(int s)
{
	char b[16];
	struct iovec iov = {b, sizeof(b)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct mmsghdr mm = {.msg_hdr = m};
	struct ob_want w = {.handle = s, .events = POLLIN};
	int spin = 1000, i;

	cut = 1;
	WANT("cut before", ob_recvmsg_cut(s, &m, 0, &cut), -EINTR);
	WANT("cut before, mmsg", ob_recvmmsg_cut(s, &mm, 1, 0, &cut), -EINTR);
	WANT("cut before, spin", ob_spin(&w, 1, OB_SPIN_ALWAYS, &cut), -EINTR);
	for (i = 0; i < 3; i++) {
		cut = signals = 0;
		in(20000);
		switch (i) {
		case 0:
			WANT("cut", ob_recvmsg_cut(s, &m, 0, &cut), -EINTR);
			break;
		case 1:
			WANT("cut, mmsg", ob_recvmmsg_cut(s, &mm, 1, 0, &cut), -EINTR);
			break;
		default:
			WANT("cut, spin", ob_spin(&w, 1, OB_SPIN_ALWAYS, &cut), -EINTR);
		}
		WANT("the handler ran", signals, 1);
	}
	cut = 0;
	WANT("SO_BUSY_POLL", ob_setsockopt(s, SOL_SOCKET, SO_BUSY_POLL, &spin, sizeof(spin)), 0);
	WANT("a budget", ob_recvmsg_cut(s, &m, 0, NULL), -EAGAIN);
	WANT("a budget, mmsg", ob_recvmmsg_cut(s, &mm, 1, 0, &cut), -EAGAIN);
	WANT("spin", ob_spin(&w, 1, 1000000, &cut), 0);
	WANT("a look", ob_spin(&w, 1, 0, NULL), 0);
	WANT("send", ob_send(s, "hello", 5, 0), 5);
	WANT("spin", ob_spin(&w, 1, OB_SPIN_ALWAYS, NULL), 1);
	WANT("revents", w.revents, POLLIN);
	WANT("recvmsg", ob_recvmsg_cut(s, &m, 0, NULL), 5);
	WANT("send", ob_send(s, "hello", 5, 0), 5);
	WANT("spin", ob_spin(&w, 1, OB_SPIN_ALWAYS, NULL), 1);
	WANT("recvmmsg", ob_recvmmsg_cut(s, &mm, 1, 0, NULL), 1);
	WANT("length", mm.msg_len, 5);
}

static void naps(int s)
{
	char b[16];
	struct ob_want w[3] = {{.handle = s, .events = POLLIN}, {.handle = -1}, {.handle = s, .events = POLLOUT}};
	int token, fds[1], i, e = eventfd(0, 0);
	unsigned int nfds = 0;
	int64_t until;

	for (i = 0; i < 100; i++) {
		WANT("nap", nap(w, 1, e, s), 1);
		WANT("recv", ob_recv(s, b, sizeof(b), MSG_DONTWAIT), 1);
	}
	WANT("nap, writable", nap(w, 3, e, -1), 1);
	WANT("revents", w[2].revents, POLLOUT);
	WANT("too few", ob_arm(w, 1, fds, &nfds, &until), -ENOSPC);
	WANT("no token", ob_disarm(99, w, 1), -EINVAL);
	cut = signals = 0;
	in(20000);
	WANT("a signal", nap(w, 1, e, -1), -EINTR);
	WANT("the handler ran", signals, 1);
	w[1].handle = 12345;
	nfds = 1;
	token = ob_arm(w, 2, fds, &nfds, &until);
	WANT("a bad handle, no sleep", token >= 0 && until <= now(), 1);
	WANT("a bad handle", ob_disarm(token, w, 2), 1);
	WANT("a bad handle", w[1].revents, POLLNVAL);
	WANT("the token again", ob_disarm(token, w, 2), -EINVAL);
	close(e);
}

static void polls(int s)
{
	char b[16];
	int p[2], e, fd, k;
	struct ob_want w[2] = {{.handle = s, .events = POLLIN}, {.events = POLLIN}};
	struct epoll_event ev = {.events = EPOLLIN, .data = {.u64 = 0x1122334455667788}}, got[8];
	struct pollfd on;

	if (pipe(p))
		die("pipe", errno);
	w[1].handle = OB_FD(p[0]);
	WANT("poll", ob_poll(w, 2, 5), 0);
	WANT("send", ob_send(s, "x", 1, 0), 1);
	WANT("poll", ob_poll(w, 2, -1), 1);
	WANT("revents", w[0].revents, POLLIN);
	WANT("events", ob_events(s) & (POLLIN | POLLOUT | POLLERR), POLLIN | POLLOUT);
	WANT("write", write(p[1], "y", 1), 1);
	WANT("poll", ob_poll(w, 2, -1), 2);
	e = ob_epoll_create();
	WANT("epoll", e >= 0, 1);
	WANT("epoll add", ob_epoll_ctl(e, EPOLL_CTL_ADD, s, &ev), 0);
	WANT("epoll add again", ob_epoll_ctl(e, EPOLL_CTL_ADD, s, &ev), -EEXIST);
	WANT("epoll of a socket", ob_epoll_wait(s, got, 8, 0), -EINVAL);
	WANT("epoll wait", ob_epoll_wait(e, got, 8, -1), 1);
	WANT("epoll data", got[0].data.u64 == ev.data.u64, 1);
	WANT("epoll events", got[0].events, EPOLLIN);
	ev.data.fd = p[0];
	WANT("epoll add fd", ob_epoll_ctl(e, EPOLL_CTL_ADD, OB_FD(p[0]), &ev), 0);
	WANT("epoll wait", ob_epoll_wait(e, got, 8, -1), 2);
	WANT("epoll spin", ob_epoll_spin(e, 1000), 0);
	fd = ob_pollfd(e);
	on = (struct pollfd){.fd = fd, .events = POLLIN};
	WANT("epoll's descriptor", poll(&on, 1, -1), 1);
	WANT("recv", ob_recv(s, b, 1, 0), 1);
	WANT("epoll del fd", ob_epoll_ctl(e, EPOLL_CTL_DEL, OB_FD(p[0]), NULL), 0);
	WANT("epoll wait", ob_epoll_wait(e, got, 8, 0), 0);
	WANT("epoll close", ob_close(e), 0);
	fd = ob_pollfd(s);
	k = epoll_create1(0);
	WANT("edges", ob_pollfd_edges(s, 1), 0);
	WANT("edges of nothing", ob_pollfd_edges(12345, 1), -EBADF);
	WANT("a socket's descriptor", epoll_ctl(k, EPOLL_CTL_ADD, fd, &ev), 0);
	WANT("send", ob_send(s, "z", 1, 0), 1);
	WANT("the kernel's epoll", epoll_wait(k, got, 8, -1), 1);
	WANT("recv", ob_recv(s, b, 1, 0), 1);
	WANT("the kernel's epoll", epoll_wait(k, got, 8, 0), 0);
	close(k), close(p[0]), close(p[1]);
}

/* makes garbage, so that Go's collector asks threads to stop. */
static void *litter(void *over)
{
	struct ob_stat st = {.size = sizeof(st)};

	while (!*(volatile int *)over)
		ob_stat(&st);
	return NULL;
}

/* SIGURG is the program's: Go's scheduler sends none, however long a thread spins. */
static void urgency(int s)
{
	volatile int over = 0;
	pthread_t other;

	struct sigaction a = {.sa_handler = urged, .sa_flags = SA_ONSTACK};
	struct ob_want w = {.handle = s, .events = POLLIN};

	sigaction(SIGURG, &a, NULL);
	if (pthread_create(&other, NULL, litter, (void *)&over))
		die("pthread_create", 0);
	WANT("spin", ob_spin(&w, 1, 300000000, NULL), 0);
	over = 1;
	pthread_join(other, NULL);
	WANT("SIGURG of nobody", urgent, 0);
	raise(SIGURG);
	WANT("SIGURG", urgent, 1);
}

/* The in-band socket that holds the port has the socket's name, and what a snapshot is of can
 * be made again. */
static int again(int s)
{
	struct sockaddr_in ours, holders, peers;
	socklen_t n = sizeof(ours);
	char shot[4096];
	int size, fresh, fd = ob_holder(s), ttl = 9;

	WANT("a holder", fd >= 0, 1);
	WANT("getsockname", ob_getsockname(s, (struct sockaddr *)&ours, &n), 0);
	WANT("the holder's name", getsockname(fd, (struct sockaddr *)&holders, &n), 0);
	WANT("the holder's port", holders.sin_port, ours.sin_port);
	fresh = ob_socket(AF_INET, SOCK_DGRAM, 0);
	WANT("no holder yet", ob_holder(fresh), -ENOENT);
	WANT("close", ob_close(fresh), 0);
	WANT("IP_TTL", ob_setsockopt(s, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
	size = ob_snapshot(s, NULL, 0);
	WANT("snapshot", size > 0 && size < (int)sizeof(shot), 1);
	WANT("snapshot", ob_snapshot(s, shot, sizeof(shot)), size);
	WANT("close", ob_close(s), 0);
	fresh = ob_restore(shot, size);
	WANT("restore", fresh >= 0, 1);
	ttl = 0;
	n = sizeof(ttl);
	WANT("IP_TTL", ob_getsockopt(fresh, IPPROTO_IP, IP_TTL, &ttl, &n), 0);
	WANT("IP_TTL", ttl, 9);
	n = sizeof(peers);
	WANT("getpeername", ob_getpeername(fresh, (struct sockaddr *)&peers, &n), 0);
	WANT("the peer's port", peers.sin_port, peer.sin_port);
	WANT("getsockname", ob_getsockname(fresh, (struct sockaddr *)&holders, &n), 0);
	WANT("the port", holders.sin_port, ours.sin_port);
	WANT("restore of nothing", ob_restore("no", 2), -EINVAL);
	return fresh;
}

/* What is no configuration is refused, in words too, and so are pointers that are NULL. */
static void refusals(const char *device)
{
	struct {
		struct ob_config c;
		char more[16];
	} later = {.c = {.size = sizeof(later), .device = "nothing0"}};
	struct ob_config c = {.device = device}, bad;
	struct ob_stat st = {.size = 4};
	char why[8];
	unsigned int n = 1;
	int64_t until;

	WANT("NULL", ob_start(NULL), -EINVAL);
	WANT("no size", ob_start(&c), -EINVAL);
	c.size = sizeof(c);
	bad = c, bad.flags = 1u << 31;
	WANT("flags", ob_start(&bad), -EINVAL);
	bad = c, bad.spin = -2;
	WANT("spin", ob_start(&bad), -EINVAL);
	bad = c, bad.require = "magic";
	WANT("require", ob_start(&bad), -EINVAL);
	WANT("why", ob_error(why, sizeof(why)) > (int)sizeof(why) && strlen(why) == sizeof(why) - 1, 1);
	bad = c, bad.address = "10.9.0.7";
	WANT("address", ob_start(&bad), -EINVAL);
	bad = c, bad.address = "10.9.0.7/24", bad.device = NULL;
	WANT("an address without a device", ob_start(&bad), -EINVAL);
	bad = c, bad.gateway = "10.9.0.7";
	WANT("a gateway of shared addresses", ob_start(&bad), -EINVAL);
	bad = c, bad.nfds = -1;
	WANT("a negative number of descriptors", ob_start(&bad), -EINVAL);
	WANT("a later header's", ob_start(&later.c), -ENODEV);
	later.more[3] = 1;
	WANT("a later header's, in use", ob_start(&later.c), -E2BIG);
	WANT("stat", ob_stat(&st), -ENETDOWN);
	WANT("arm", ob_arm(NULL, 0, NULL, &n, &until), -EFAULT);
	WANT("poll", ob_poll(NULL, 1, 0), -EFAULT);
	WANT("recvmsg", ob_recvmsg(0, NULL, 0), -EFAULT);
	WANT("recvmsg_cut", ob_recvmsg_cut(0, NULL, 0, NULL), -EFAULT);
	WANT("sendmmsg", ob_sendmmsg(0, NULL, 1, 0), -EFAULT);
	WANT("epoll_wait", ob_epoll_wait(0, NULL, 0, 0), -EINVAL);
	WANT("where", ob_where(0, NULL), -EFAULT);
	WANT("version", strlen(ob_version()) > 0, 1);
}

static int budget(int s)
{
	int us = -1;
	socklen_t n = sizeof(us);

	WANT("SO_BUSY_POLL", ob_getsockopt(s, SOL_SOCKET, SO_BUSY_POLL, &us, &n), 0);
	return us;
}

/* An adaptive budget learns from sleeps to receive, whether they were short or long. */
static void learns(int s)
{
	struct ob_want w = {.handle = s, .events = POLLOUT};
	int fds[8], first = budget(s);
	unsigned int n = 8;
	int64_t until;

	WANT("a budget", first > 0, 1);
	ob_disarm(ob_arm(&w, 1, fds, &n, &until), &w, 1);
	WANT("of a sleep to send", budget(s), first);
	w.events = POLLIN;
	n = 8;
	ob_disarm(ob_arm(&w, 1, fds, &n, &until), &w, 1);
	WANT("of a sleep to receive", budget(s) != first, 1);
}

int main(int argc, char **argv)
{
	/* On the signal stack that Go gives each thread: a handler must not run on Go's others. */
	struct sigaction a = {.sa_handler = alarmed, .sa_flags = SA_ONSTACK};
	struct ob_path path = {.size = sizeof(path)};
	struct ob_stat st = {.size = sizeof(st)};
	int s;

	if (argc != 3)
		return 2;
	sigaction(SIGALRM, &a, NULL);
	refusals(argv[1]);
	start(argv[1], NULL, OB_SPIN_ALWAYS);
	WANT("start again", ob_start(&(struct ob_config){.size = sizeof(struct ob_config)}), -EALREADY);
	peer = at(argv[2], 7);
	s = udp();
	cuts(s);
	naps(s);
	polls(s);
	urgency(s);
	s = again(s);
	WANT("where", ob_where(s, &path), 0);
	WANT("by", path.by, OB_BY_RING);
	WANT("device", strcmp(path.device, argv[1]), 0);
	WANT("stat", ob_stat(&st), 0);
	st.size = 4;
	WANT("stat, of a size", ob_stat(&st), -EINVAL);
	WANT("sent", st.out >= 100, 1);
	WANT("stop", ob_stop(), 0);
	WANT("stop again", ob_stop(), -ENETDOWN);
	WANT("a socket of before", ob_send(s, "x", 1, 0), -EBADF);
	WANT("a socket without a stack", ob_socket(AF_INET, SOCK_DGRAM, 0), -ENETDOWN);
	start(argv[1], NULL, OB_SPIN_ADAPTIVE);
	s = udp();
	learns(s);
	WANT("send", ob_send(s, "x", 1, 0), 1);
	WANT("recv", ob_recv(s, &peer, 1, 0), 1);
	return failed;
}
