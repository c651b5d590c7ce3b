/* evl.c DEVICE PEER - libevl's calls, with an echo at PEER, port 7. It says what is not as it
 * should be. */
#include <outband/evl.h>
#include <arpa/inet.h>
#include <stdio.h>

static int failed;

#define WANT(what, got, want)                                                              \
	do {                                                                               \
		long g_ = (long)(got), w_ = (long)(want);                                  \
		if (g_ != w_) {                                                            \
			printf("%s:%d: %s: %ld, want %ld\n", __FILE__, __LINE__, what, g_, w_); \
			failed = 1;                                                        \
		}                                                                          \
	} while (0)

/* Of libc's calls, -1 and errno are wanted. */
#define FAILS(what, got, e)                    \
	do {                                   \
		errno = 0;                     \
		WANT(what, got, -1);           \
		WANT(what ", errno", errno, e); \
	} while (0)

static struct timespec in(long ms)
{
	struct timespec t;

	evl_read_clock(EVL_CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void messages(int s)
{
	char b[16] = "hello";
	struct evl_net_iotimes times;
	struct sockaddr_in from;
	struct iovec v = {b, 5};
	struct oob_msghdr m = {.msg_iov = &v, .msg_iovlen = 1}, named = {.msg_name = &from, .msg_namelen = 4, .msg_iov = &v, .msg_iovlen = 1};
	struct timespec soon, bad = {.tv_nsec = -1};
	int stamps = EVL_SOF_TIMESTAMPS, size = 50000;
	socklen_t n = sizeof(size);

	soon = in(5);
	FAILS("a date", oob_recvmsg(s, &m, &soon, 0), ETIMEDOUT);
	FAILS("no date", oob_recvmsg(s, &m, &bad, 0), EINVAL);
	FAILS("do not wait", oob_recvmsg(s, &m, NULL, MSG_DONTWAIT), EAGAIN);
	FAILS("flags", oob_recvmsg(s, &m, NULL, MSG_WAITALL), EINVAL);
	FAILS("a short name", oob_recvmsg(s, &named, NULL, 0), EINVAL);
	WANT("SO_TIMESTAMP_OOB", setsockopt(s, SOL_SOCKET, SO_TIMESTAMP_OOB, &stamps, sizeof(stamps)), 0);
	WANT("send", oob_sendmsg(s, &m, NULL, 0), 5);
	named.msg_namelen = sizeof(from);
	named.msg_control = &times;
	named.msg_controllen = sizeof(times);
	v.iov_len = 3;
	WANT("receive", oob_recvmsg(s, &named, NULL, 0), 3);
	WANT("flags", named.msg_flags & MSG_TRUNC, MSG_TRUNC);
	WANT("the port", ntohs(from.sin_port), 7);
	WANT("times", named.msg_controllen, sizeof(times));
	WANT("their order", times.device_time <= times.queuing_time && times.queuing_time <= times.delivery_time && times.device_time > 0, 1);
	v = (struct iovec){&times, sizeof(times)};
	named.msg_name = NULL;
	named.msg_namelen = 0;
	named.msg_control = NULL;
	named.msg_controllen = 0;
	WANT("times of what was sent", oob_recvmsg(s, &named, NULL, MSG_TIMESTAMP), sizeof(times));
	stamps = 0; /* or POLLIN tells of them too */
	WANT("EVL_SOCKOPT_TIMESTAMPING", oob_setsockopt(s, SOL_SOCKET, EVL_SOCKOPT_TIMESTAMPING, &stamps, sizeof(stamps)), 0);
	WANT("write", oob_write(s, "again", 5), 5);
	WANT("read", oob_read(s, b, sizeof(b)), 5);
	WANT("EVL_SOCKOPT_RECVSZ", oob_setsockopt(s, SOL_SOCKET, EVL_SOCKOPT_RECVSZ, &size, sizeof(size)), 0);
	WANT("EVL_SOCKOPT_RECVSZ", oob_getsockopt(s, SOL_SOCKET, EVL_SOCKOPT_RECVSZ, &size, &n), 0);
	WANT("it is doubled", size, 100000);
	WANT("ioctl", oob_ioctl(s, FIONREAD, &size), 0);
	FAILS("of the kernel's", oob_read(0, b, sizeof(b)), EBADF);
}

static void libc(int s)
{
	char b[16];
	struct sockaddr_in a;
	socklen_t n = sizeof(a);
	int p[2], on = 1;

	WANT("write", write(s, "x", 1), 1);
	WANT("read", read(s, b, sizeof(b)), 1);
	WANT("send", send(s, "y", 1, 0), 1);
	WANT("recvfrom", recvfrom(s, b, sizeof(b), 0, (struct sockaddr *)&a, &n), 1);
	WANT("getpeername", getpeername(s, (struct sockaddr *)&a, &n), 0);
	WANT("fcntl", fcntl(s, F_SETFL, O_NONBLOCK), 0);
	FAILS("O_NONBLOCK", recv(s, b, sizeof(b), 0), EAGAIN);
	on = 0;
	WANT("ioctl", ioctl(s, FIONBIO, &on), 0);
	WANT("pipe", pipe(p), 0);
	WANT("the kernel's write", write(p[1], "z", 1), 1);
	WANT("the kernel's read", read(p[0], b, 1), 1);
	WANT("the kernel's ioctl", ioctl(p[0], FIONREAD, &on), 0);
	WANT("the kernel's fcntl", fcntl(p[0], F_GETFL) >= 0, 1);
	WANT("the kernel's close", close(p[0]) | close(p[1]), 0);
	FAILS("the kernel's", close(p[0]), EBADF);
	p[0] = socket(AF_INET, SOCK_DGRAM, 0);
	WANT("an in-band socket", p[0] >= 0 && p[0] < EVL_FD_BASE_, 1);
	WANT("close", close(p[0]), 0);
}

static void polls(int s)
{
	char b[16];
	struct evl_poll_event ev[4];
	struct timespec soon;
	int set = evl_new_poll(), p[2];

	WANT("evl_new_poll", set >= 0, 1);
	WANT("pipe", pipe(p), 0);
	WANT("add", evl_add_pollfd(set, s, POLLIN, evl_intval(4711)), 0);
	WANT("add again", evl_add_pollfd(set, s, POLLIN, evl_nil), -EEXIST);
	WANT("add the kernel's", evl_add_pollfd(set, p[0], POLLIN, evl_ptrval(b)), 0);
	soon = in(5);
	WANT("nothing", evl_timedpoll(set, ev, 4, &soon), -ETIMEDOUT);
	WANT("write", oob_write(s, "x", 1), 1);
	WANT("poll", evl_poll(set, ev, 4), 1);
	WANT("its descriptor", ev[0].fd, s);
	WANT("its events", ev[0].events, POLLIN);
	WANT("its value", ev[0].pollval.val, 4711);
	WANT("read", oob_read(s, b, sizeof(b)), 1);
	WANT("write", write(p[1], "x", 1), 1);
	WANT("poll", evl_poll(set, ev, 4), 1);
	WANT("the kernel's", ev[0].fd == (uint32_t)p[0] && ev[0].pollval.ptr == b, 1);
	WANT("del", evl_del_pollfd(set, p[0]), 0);
	WANT("mod", evl_mod_pollfd(set, s, POLLOUT, evl_intval(5)), 0);
	WANT("poll", evl_poll(set, ev, 4), 1);
	WANT("its value", ev[0].pollval.val, 5);
	WANT("del", evl_del_pollfd(set, s), 0);
	WANT("del again", evl_del_pollfd(set, s), -ENOENT);
	WANT("close", close(set), 0);
	WANT("closed", evl_poll(set, ev, 4), -EBADF);
	close(p[0]), close(p[1]);
}

static void devices(const char *name)
{
	struct evl_net_devstat st;
	int d = evl_net_open_dev(name);

	WANT("evl_net_open_dev", d >= 0, 1);
	WANT("another", evl_net_open_dev("nothing0"), -ENODEV);
	WANT("query", evl_net_query_dev(d, &st), 0);
	WANT("counted", st.rx_packets > 0 && st.tx_packets > 0 && st.rx_bytes > st.rx_packets, 1);
	WANT("a port", st.oob_port, 1);
	WANT("enable", evl_net_enable_port(d, 0, 0), 0);
	WANT("enable, of a size", evl_net_enable_port(d, 1, 0), -ENOSYS);
	WANT("disable", evl_net_disable_port(d), -ENOSYS);
	WANT("set a filter", evl_net_set_filter(d, "filter.o"), -ENOSYS);
	WANT("set none", evl_net_set_filter(d, NULL), 0);
	WANT("of a file", evl_net_query_dev(0, &st), -EBADF);
	WANT("close", close(d), 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(7)};
	int s, thread;

	if (argc != 3)
		return 2;
	inet_pton(AF_INET, argv[2], &peer.sin_addr);
	thread = evl_attach_self("test");
	WANT("evl_attach_self", thread >= 0, 1);
	WANT("evl_init", evl_init(), 0);
	s = socket(AF_INET, SOCK_DGRAM | SOCK_OOB, 0);
	WANT("socket", s >= 0, 1);
	FAILS("a stream", socket(AF_INET, SOCK_STREAM | SOCK_OOB, 0), ESOCKTNOSUPPORT);
	FAILS("no peer", oob_write(s, "x", 1), EDESTADDRREQ);
	WANT("solicit", evl_net_solicit(s, (struct sockaddr *)&peer, EVL_NEIGH_PERMANENT), 0);
	WANT("solicit, flags", evl_net_solicit(s, (struct sockaddr *)&peer, 0x100), -EINVAL);
	WANT("solicit, the kernel's", evl_net_solicit(0, (struct sockaddr *)&peer, 0), -EBADF);
	WANT("connect", connect(s, (struct sockaddr *)&peer, sizeof(peer)), 0);
	messages(s);
	libc(s);
	polls(s);
	devices(argv[1]);
	WANT("close", close(s), 0);
	FAILS("closed", oob_write(s, "x", 1), EBADF);
	WANT("evl_detach_self", evl_detach_self(), 0);
	WANT("close a thread", close(thread), 0);
	return failed;
}
