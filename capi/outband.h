/* outband.h - sockets of the Outband stack for programs in C: out-of-band UDP, ping, raw
 * and packet sockets, in liboutband.so.
 *
 * A call returns what the same call of libc returns if it succeeds, and -errno if it does
 * not; errno itself is left alone. Sockets and epolls are small numbers of their own, which
 * are no descriptors of the kernel's. struct msghdr, mmsghdr, iovec, pollfd and epoll_event are
 * libc's. Any number of threads may call at once. man 3 outband tells more.
 */
#ifndef OUTBAND_H
#define OUTBAND_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* struct mmsghdr */
#endif
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

struct mmsghdr; /* which libc keeps from programs without _GNU_SOURCE */

#ifdef __cplusplus
extern "C" {
#endif

/* The stack. */

#define OB_SPIN_ADAPTIVE (-1LL)    /* spin shortly where datagrams come quickly: the default */
#define OB_SPIN_DEFAULT  (-1LL)    /* in ob_spin: what the stack was started with */
#define OB_SPIN_NEVER    0LL       /* sleep at once */
#define OB_SPIN_ALWAYS   INT64_MAX /* never sleep */

#define OB_NO_LO              1u /* no ring on lo: what is for the host itself comes by in-band sockets */
#define OB_NO_LOCAL_MULTICAST 2u /* multicasts are not heard by other members on this host */

struct ob_config {
	size_t size;         /* sizeof(struct ob_config) */
	const char *device;  /* "eth0" or "eth0,eth1"; NULL: all that have an address (shared only) */
	const char *address; /* "10.0.0.2/24": an address of the stack's own; NULL: the kernel's are shared */
	const char *gateway; /* the way to other networks; with an own address only */
	const char *require; /* shared: "tcx", "nft", "holder", the least that keeps the kernel off; NULL: what there is */
	int64_t spin;        /* ns that a call looks before it sleeps, or OB_SPIN_* */
	uint32_t flags;      /* OB_NO_* */
	int fd_floor;        /* the library's descriptors lie at or above it; 0: anywhere */
	const int *fds;      /* sockets that a process with CAP_NET_RAW has opened for this one, */
	int nfds;            /* which uses them in place of opening its own; 0: none */
};

int ob_start(const struct ob_config *config); /* -EALREADY: there is a stack */
int ob_stop(void);
int ob_error(char *buf, size_t n); /* why the last ob_start failed, and what mends it; as snprintf(3) */

/* Sockets, as libc's. The type takes SOCK_NONBLOCK and SOCK_CLOEXEC. */

int ob_socket(int domain, int type, int protocol);
int ob_bind(int s, const struct sockaddr *addr, socklen_t len);
int ob_connect(int s, const struct sockaddr *addr, socklen_t len);
int ob_getsockname(int s, struct sockaddr *addr, socklen_t *len);
int ob_getpeername(int s, struct sockaddr *addr, socklen_t *len);
int ob_shutdown(int s, int how);
int ob_close(int s); /* of an epoll too */

ssize_t ob_send(int s, const void *buf, size_t n, int flags);
ssize_t ob_sendto(int s, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len);
ssize_t ob_sendmsg(int s, const struct msghdr *m, int flags);
int ob_sendmmsg(int s, struct mmsghdr *m, unsigned int n, int flags);
ssize_t ob_recv(int s, void *buf, size_t n, int flags);
ssize_t ob_recvfrom(int s, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len);
ssize_t ob_recvmsg(int s, struct msghdr *m, int flags);
int ob_recvmmsg(int s, struct mmsghdr *m, unsigned int n, int flags, struct timespec *timeout);

int ob_getsockopt(int s, int level, int name, void *value, socklen_t *len);
int ob_setsockopt(int s, int level, int name, const void *value, socklen_t len);
int ob_ioctl(int s, unsigned long request, void *arg);
int ob_fcntl(int s, int cmd, unsigned long arg);

/* Waiting. These sleep in the library, where a signal does not end the call. */

#define OB_FD(fd) (-2 - (fd)) /* a descriptor of the kernel's, where a handle is asked for */

struct ob_want {
	int handle; /* a socket, an epoll or an OB_FD; -1: passed over */
	short events, revents; /* as in struct pollfd */
};

int ob_poll(struct ob_want *want, unsigned int n, int timeout); /* ms */
int ob_epoll_create(void);
int ob_epoll_ctl(int e, int op, int handle, const struct epoll_event *ev);
int ob_epoll_wait(int e, struct epoll_event *events, int n, int timeout); /* ms */
int ob_epoll_spin(int e, int64_t spin); /* ns that it looks before it sleeps, or OB_SPIN_* */

/* A descriptor to put into poll, select or an epoll of the kernel's: readable while the
 * socket would report POLLIN, POLLERR or POLLHUP, or the epoll an event; always writable. ob_events
 * tells which. It stays the library's. */
int ob_pollfd(int s);
int ob_pollfd_edges(int s, int on); /* each datagram makes an edge there for EPOLLET, by a system call, and not only the first */
int ob_events(int s); /* what poll(2) would report of the socket now */

/* What a socket is, to be made again, in another process too: ob_snapshot returns how many bytes
 * that is, and stores them if they are no more than n; ob_restore returns a socket. What is
 * queued is not part of it. */
int ob_snapshot(int s, void *buf, size_t n);
int ob_restore(const void *buf, size_t n);
int ob_holder(int s); /* the in-band socket that holds the port of a shared address, which stays the library's; -ENOENT: none */
int ob_adopt(int s, int fd); /* the next ob_bind takes fd, which holds the address already, as ob_holder did in a parent; it stays the caller's */

/* Waiting for callers whose signals, masks and time-outs are to be the kernel's: they spin
 * here, and sleep in ppoll(2) themselves. None of these sleeps. A handler of a signal sets
 * *cut, which ends a call with -EINTR; cut may be NULL. */

ssize_t ob_recvmsg_cut(int s, struct msghdr *m, int flags, const volatile unsigned int *cut); /* -EAGAIN: the socket's budget is spent */
int ob_recvmmsg_cut(int s, struct mmsghdr *m, unsigned int n, int flags, const volatile unsigned int *cut); /* what is there, one or more */
int ob_spin(struct ob_want *want, unsigned int n, int64_t budget, const volatile unsigned int *cut); /* the number of ready ones */

/* ob_arm stores in fds what to poll for POLLIN, at most *nfds, which is set to their number,
 * and in *until how long, in ns of CLOCK_MONOTONIC: INT64_MAX, without end; the past, not at all.
 * It returns a token, for ob_disarm, which is owed. -ENOSPC: fds is too short. */
int ob_arm(struct ob_want *want, unsigned int n, int *fds, unsigned int *nfds, int64_t *until);
int ob_disarm(int token, struct ob_want *want, unsigned int n); /* the number of ready ones */

/* EVL's calls, for outband/evl.h. A date is a time of CLOCK_MONOTONIC, -ETIMEDOUT after that; NULL:
 * without end. They sleep in the library. */

ssize_t ob_oob_recvmsg(int s, struct msghdr *m, const struct timespec *date, int flags);
ssize_t ob_oob_sendmsg(int s, const struct msghdr *m, const struct timespec *date, int flags);
int ob_solicit(int s, const struct sockaddr *peer, socklen_t len, int flags); /* resolves the neighbour on the way there */

struct ob_poll_event {
	uint32_t fd, events;
	uint64_t value;
};

int ob_poll_ctl(int e, int op, int handle, int fd, unsigned int events, uint64_t value); /* an epoll's, which tells fd and value */
int ob_poll_wait(int e, struct ob_poll_event *events, int n, const struct timespec *date);

/* What is known. */

int ob_device(const char *name); /* the index of a device that the stack has; -ENODEV */

struct ob_device_stat {
	size_t size; /* sizeof(struct ob_device_stat), set by the caller */
	uint64_t in_frames, in_bytes, in_dropped; /* for want of room in the ring */
	uint64_t out_frames, out_bytes, out_dropped;
};
int ob_device_stat(int ifindex, struct ob_device_stat *st);

struct ob_stat {
	size_t size; /* sizeof(struct ob_stat), set by the caller */
	uint64_t in, out;             /* UDP datagrams */
	uint64_t in_errors, no_ports; /* as nstat(8) counts them: UdpInErrors, UdpNoPorts */
	uint64_t rcvbuf_errors, sndbuf_errors;
};
int ob_stat(struct ob_stat *st);

#define OB_BY_HOLDER 1 /* by in-band sockets, which hold the port */
#define OB_BY_RING   2 /* by a device's ring */

struct ob_path {
	size_t size; /* sizeof(struct ob_path), set by the caller */
	int by;          /* OB_BY_*: how the socket's datagrams go to its peer, or come to its address */
	int ifindex;     /* of the device; 0: that depends on the datagram */
	char device[16]; /* its name, or "" */
};
int ob_where(int s, struct ob_path *path);
const char *ob_version(void);

#ifdef __cplusplus
}
#endif
#endif
