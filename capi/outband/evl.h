/* outband/evl.h - the calls of libevl (Xenomai 4) over the Outband stack, so that programs for
 * EVL's out-of-band sockets compile unchanged and run on any Linux. man 3 outband_evl tells
 * what differs.
 *
 * It is included before other headers that name members of structures like the calls of
 * libc: socket, close, read and their kin are renamed here to functions that make the calls
 * of out-of-band descriptors, and pass all others to libc. The stack is started by the first
 * call that needs it, on the devices that OUTBAND_DEV names, with the address OUTBAND_ADDR if it is
 * set, or by ob_start.
 */
#ifndef OUTBAND_EVL_H
#define OUTBAND_EVL_H

#include <outband.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What evl/net/socket.h and its kin define. */

#define O_OOB    010000000000
#define SOCK_OOB O_OOB
#define AF_OOB   46
#define PF_OOB   AF_OOB

#define MSG_TIMESTAMP    MSG_ERRQUEUE /* read the times of what was sent */
#define SO_TIMESTAMP_OOB 1024

enum { EVL_SOCKOPT_RECVSZ, EVL_SOCKOPT_SENDSZ, EVL_SOCKOPT_TIMESTAMPING };
enum { EVL_SOF_TIMESTAMP_RX = 1, EVL_SOF_TIMESTAMP_TX = 2, EVL_SOF_TIMESTAMP_DEVICE = 4, EVL_SOF_TIMESTAMP_QUEUING = 8 };
#define EVL_SOF_TIMESTAMPS 15

#define EVL_NEIGH_PERMANENT 0x1
#define EVL_NEIGH_MAYROUTE  0x2

struct oob_msghdr {
	void *msg_name;
	socklen_t msg_namelen;
	struct iovec *msg_iov;
	size_t msg_iovlen;
	void *msg_control;
	size_t msg_controllen;
	int msg_flags; /* of what was received; those to ask for are an argument */
};

struct evl_net_iotimes {
	uint64_t device_time, queuing_time, delivery_time; /* ns of CLOCK_MONOTONIC */
};

struct evl_net_devstat {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint32_t skb_size, skb_free, skb_total, csum_errors, rx_nomem, tx_nomem;
	union {
		struct {
			uint32_t oob_capable : 1;
			uint32_t oob_port : 1;
		};
		uint32_t __flags;
	};
};

enum evl_net_rx_action { EVL_RX_DROP = 0, EVL_RX_ACCEPT, EVL_RX_SKIP, EVL_RX_VLAN };

union evl_value {
	int32_t val;
	int64_t lval;
	void *ptr;
};

#ifndef __cplusplus
#define evl_intval(v) ((union evl_value){.lval = (v)})
#define evl_ptrval(v) ((union evl_value){.ptr = (v)})
#define evl_nil       evl_intval(0)
#endif

struct evl_poll_event {
	uint32_t fd;
	uint32_t events;
	union evl_value pollval;
};

#define EVL_CLOCK_MONOTONIC (-CLOCK_MONOTONIC)
#define EVL_CLOCK_REALTIME  (-CLOCK_REALTIME)

/* Numbers of descriptors, above any of the kernel's: of sockets and poll sets, devices, and
 * threads. They do not fit a fd_set; ob_pollfd(fd - EVL_FD_BASE_) is one of the kernel's. */
#define EVL_FD_BASE_     0x40000000
#define EVL_DEVICE_BASE_ 0x50000000
#define EVL_THREAD_FD_   0x60000000

static inline int evl_is_ours_(int fd) { return fd >= EVL_FD_BASE_ && fd < EVL_DEVICE_BASE_; }

/* evl_told_ returns what a call of libc's would, and sets errno. */
static inline long evl_told_(long r)
{
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* The stack and threads. */

static inline int evl_init(void)
{
	struct ob_config c;
	int e;

	memset(&c, 0, sizeof(c));
	c.size = sizeof(c);
	c.device = getenv("OUTBAND_DEV");
	c.address = getenv("OUTBAND_ADDR");
	c.gateway = getenv("OUTBAND_GATEWAY");
	c.spin = OB_SPIN_ADAPTIVE;
	e = ob_start(&c);
	return e == -EALREADY ? 0 : e;
}

/* A thread is what it was before: its priority and its CPU are the program's to set. */
__attribute__((format(printf, 1, 2))) static inline int evl_attach_self(const char *fmt, ...)
{
	int e = evl_init();

	(void)fmt;
	return e < 0 ? e : EVL_THREAD_FD_;
}

__attribute__((format(printf, 2, 3))) static inline int evl_attach_thread(int flags, const char *fmt, ...)
{
	int e = evl_init();

	(void)flags, (void)fmt;
	return e < 0 ? e : EVL_THREAD_FD_;
}

static inline int evl_detach_self(void) { return 0; }

static inline int evl_read_clock(int clock, struct timespec *tp)
{
	return clock_gettime((clockid_t)-clock, tp) ? -errno : 0;
}

static inline int evl_sleep_until(int clock, const struct timespec *date)
{
	return -clock_nanosleep((clockid_t)-clock, TIMER_ABSTIME, date, NULL);
}

/* Messages: -1 and errno, as libevl's. A time-out is a time of CLOCK_MONOTONIC, NULL none. */

static inline ssize_t oob_recvmsg(int fd, struct oob_msghdr *m, const struct timespec *timeout, int flags)
{
	return evl_told_(evl_is_ours_(fd) ? ob_oob_recvmsg(fd - EVL_FD_BASE_, (struct msghdr *)(void *)m, timeout, flags) : -EBADF);
}

static inline ssize_t oob_sendmsg(int fd, const struct oob_msghdr *m, const struct timespec *timeout, int flags)
{
	return evl_told_(evl_is_ours_(fd) ? ob_oob_sendmsg(fd - EVL_FD_BASE_, (const struct msghdr *)(const void *)m, timeout, flags) : -EBADF);
}

static inline ssize_t oob_read(int fd, void *buf, size_t n)
{
	struct iovec v = {buf, n};
	struct oob_msghdr m;

	memset(&m, 0, sizeof(m));
	m.msg_iov = &v;
	m.msg_iovlen = 1;
	return oob_recvmsg(fd, &m, NULL, 0);
}

static inline ssize_t oob_write(int fd, const void *buf, size_t n)
{
	struct iovec v = {(void *)(uintptr_t)buf, n};
	struct oob_msghdr m;

	memset(&m, 0, sizeof(m));
	m.msg_iov = &v;
	m.msg_iovlen = 1;
	return oob_sendmsg(fd, &m, NULL, 0);
}

/* evl_option_ returns the option that one of EVL_SOCKOPT_* is, and others as they are. */
static inline int evl_option_(int level, int name)
{
	static const int names[] = {SO_RCVBUF, SO_SNDBUF, SO_TIMESTAMP_OOB};

	return level == SOL_SOCKET && name >= 0 && name < 3 ? names[name] : name;
}

static inline int oob_setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
	return (int)evl_told_(evl_is_ours_(fd) ? ob_setsockopt(fd - EVL_FD_BASE_, level, evl_option_(level, name), value, n) : -EBADF);
}

static inline int oob_getsockopt(int fd, int level, int name, void *value, socklen_t *n)
{
	return (int)evl_told_(evl_is_ours_(fd) ? ob_getsockopt(fd - EVL_FD_BASE_, level, evl_option_(level, name), value, n) : -EBADF);
}

/* The network: 0 or more, or -errno, as libevl's. */

static inline int evl_net_solicit(int fd, const struct sockaddr *peer, int flags)
{
	return evl_is_ours_(fd) ? ob_solicit(fd - EVL_FD_BASE_, peer, sizeof(struct sockaddr_in), flags) : -EBADF;
}

/* A device that the stack has; it is a port as long as the stack has it. */
static inline int evl_net_open_dev(const char *name)
{
	int e = evl_init();

	if (!e)
		e = ob_device(name);
	return e < 0 ? e : EVL_DEVICE_BASE_ + e;
}

static inline int evl_net_query_dev(int fd, struct evl_net_devstat *to)
{
	struct ob_device_stat st;
	int e;

	if (fd <= EVL_DEVICE_BASE_ || fd >= EVL_THREAD_FD_)
		return -EBADF;
	memset(&st, 0, sizeof(st));
	st.size = sizeof(st);
	e = ob_device_stat(fd - EVL_DEVICE_BASE_, &st);
	if (e)
		return e;
	memset(to, 0, sizeof(*to));
	to->rx_packets = st.in_frames;
	to->rx_bytes = st.in_bytes;
	to->tx_packets = st.out_frames;
	to->tx_bytes = st.out_bytes;
	to->rx_nomem = (uint32_t)st.in_dropped;
	to->tx_nomem = (uint32_t)st.out_dropped;
	to->oob_port = 1;
	return 0;
}

/* The stack's devices are ports from the start, with rings whose sizes ob_start has set. */
static inline int evl_net_enable_port(int fd, size_t poolsz, size_t bufsz)
{
	struct evl_net_devstat st;

	return poolsz || bufsz ? -ENOSYS : evl_net_query_dev(fd, &st);
}

static inline int evl_net_disable_port(int fd)
{
	struct evl_net_devstat st;
	int e = evl_net_query_dev(fd, &st);

	return e ? e : -ENOSYS;
}

static inline int evl_net_set_filter(int fd, const char *path)
{
	struct evl_net_devstat st;
	int e = evl_net_query_dev(fd, &st);

	return e || !path ? e : -ENOSYS;
}

/* Poll sets, of sockets, other poll sets and the kernel's descriptors. */

static inline int evl_handle_(int fd) { return evl_is_ours_(fd) ? fd - EVL_FD_BASE_ : fd < 0 ? -1 : OB_FD(fd); }

static inline int evl_new_poll(void)
{
	int e = evl_init();

	if (!e)
		e = ob_epoll_create();
	return e < 0 ? e : EVL_FD_BASE_ + e;
}

static inline int evl_poll_ctl_(int fd, int op, int what, unsigned int events, union evl_value value)
{
	uint64_t v;

	memcpy(&v, &value, sizeof(v));
	return evl_is_ours_(fd) ? ob_poll_ctl(fd - EVL_FD_BASE_, op, evl_handle_(what), what, events, v) : -EBADF;
}

static inline int evl_add_pollfd(int fd, int newfd, unsigned int events, union evl_value value)
{
	return evl_poll_ctl_(fd, EPOLL_CTL_ADD, newfd, events, value);
}

static inline int evl_mod_pollfd(int fd, int modfd, unsigned int events, union evl_value value)
{
	return evl_poll_ctl_(fd, EPOLL_CTL_MOD, modfd, events, value);
}

static inline int evl_del_pollfd(int fd, int delfd)
{
	union evl_value none;

	none.lval = 0;
	return evl_poll_ctl_(fd, EPOLL_CTL_DEL, delfd, 0, none);
}

static inline int evl_timedpoll(int fd, struct evl_poll_event *set, int n, const struct timespec *timeout)
{
	return evl_is_ours_(fd) ? ob_poll_wait(fd - EVL_FD_BASE_, (struct ob_poll_event *)(void *)set, n, timeout) : -EBADF;
}

static inline int evl_poll(int fd, struct evl_poll_event *set, int n) { return evl_timedpoll(fd, set, n, NULL); }

/* The calls of libc, which are ours where the descriptor is. */

static inline int evl_sys_socket(int domain, int type, int protocol)
{
	int s;

	if (!(type & SOCK_OOB))
		return socket(domain, type, protocol);
	s = evl_init();
	if (!s)
		s = ob_socket(domain, type & ~SOCK_OOB, protocol);
	return (int)evl_told_(s < 0 ? s : EVL_FD_BASE_ + s);
}

static inline int evl_sys_close(int fd)
{
	if (fd >= EVL_DEVICE_BASE_)
		return 0; /* a device or a thread, which take nothing */
	return evl_is_ours_(fd) ? (int)evl_told_(ob_close(fd - EVL_FD_BASE_)) : close(fd);
}

/* A call that is libc's or ours, by its first argument. */
#define EVL_SYS_(type, name, params, args, ours)                                                \
	static inline type evl_sys_##name params                                                \
	{                                                                                       \
		return evl_is_ours_(fd) ? (type)evl_told_(ob_##name ours) : name args;           \
	}

EVL_SYS_(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), (fd - EVL_FD_BASE_, a, n))
EVL_SYS_(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), (fd - EVL_FD_BASE_, a, n))
EVL_SYS_(int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n), (fd - EVL_FD_BASE_, a, n))
EVL_SYS_(int, getpeername, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n), (fd - EVL_FD_BASE_, a, n))
EVL_SYS_(int, shutdown, (int fd, int how), (fd, how), (fd - EVL_FD_BASE_, how))
EVL_SYS_(int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), (fd, l, o, v, n), (fd - EVL_FD_BASE_, l, o, v, n))
EVL_SYS_(int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n), (fd, l, o, v, n), (fd - EVL_FD_BASE_, l, o, v, n))
EVL_SYS_(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f), (fd - EVL_FD_BASE_, b, n, f))
EVL_SYS_(ssize_t, recv, (int fd, void *b, size_t n, int f), (fd, b, n, f), (fd - EVL_FD_BASE_, b, n, f))
EVL_SYS_(ssize_t, sendto, (int fd, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l), (fd, b, n, f, a, l), (fd - EVL_FD_BASE_, b, n, f, a, l))
EVL_SYS_(ssize_t, recvfrom, (int fd, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l), (fd, b, n, f, a, l), (fd - EVL_FD_BASE_, b, n, f, a, l))
EVL_SYS_(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f), (fd - EVL_FD_BASE_, m, f))
EVL_SYS_(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f), (fd - EVL_FD_BASE_, m, f))
#undef EVL_SYS_

static inline ssize_t evl_sys_read(int fd, void *b, size_t n)
{
	return evl_is_ours_(fd) ? (ssize_t)evl_told_(ob_recv(fd - EVL_FD_BASE_, b, n, 0)) : read(fd, b, n);
}

static inline ssize_t evl_sys_write(int fd, const void *b, size_t n)
{
	return evl_is_ours_(fd) ? (ssize_t)evl_told_(ob_send(fd - EVL_FD_BASE_, b, n, 0)) : write(fd, b, n);
}

static inline int evl_sys_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return evl_is_ours_(fd) ? (int)evl_told_(ob_ioctl(fd - EVL_FD_BASE_, request, arg)) : ioctl(fd, request, arg);
}

static inline int evl_sys_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	unsigned long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	return evl_is_ours_(fd) ? (int)evl_told_(ob_fcntl(fd - EVL_FD_BASE_, cmd, arg)) : fcntl(fd, cmd, arg);
}

#define oob_ioctl evl_sys_ioctl

#ifndef OUTBAND_EVL_NO_RENAME
#define socket      evl_sys_socket
#define close       evl_sys_close
#define bind        evl_sys_bind
#define connect     evl_sys_connect
#define getsockname evl_sys_getsockname
#define getpeername evl_sys_getpeername
#define shutdown    evl_sys_shutdown
#define getsockopt  evl_sys_getsockopt
#define setsockopt  evl_sys_setsockopt
#define send        evl_sys_send
#define recv        evl_sys_recv
#define sendto      evl_sys_sendto
#define recvfrom    evl_sys_recvfrom
#define sendmsg     evl_sys_sendmsg
#define recvmsg     evl_sys_recvmsg
#define read        evl_sys_read
#define write       evl_sys_write
#define ioctl       evl_sys_ioctl
#define fcntl       evl_sys_fcntl
#endif

#ifdef __cplusplus
}
#endif
#endif
