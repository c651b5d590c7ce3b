/* The shim gives an unmodified program's UDP and ping sockets to the Outband stack: it is
 * loaded by LD_PRELOAD, stands before libc's calls on sockets, and hands those on the sockets
 * that are the stack's to liboutband.so, which it loads at the first of them.
 *
 * The way of a call: calls.c, transfer.c, ready.c, select.c, epoll.c and descriptors.c look the descriptor up
 * in the table (table.c). Not there, or inside the library: libc's. There: enter(), the call of
 * liboutband, leave(); what would block sleeps here, in nap() (nap.c), never in the library.
 *
 * The application's descriptor is a kernel socket at all times. Before it is known whether the
 * stack is to have the socket, both have its options; then, on addresses that are shared with
 * the kernel, it becomes a duplicate of the in-band socket that holds the port (policy.c).
 *
 * No locks are held across calls of the library, and none are taken by transfers.
 */
#ifndef SHIM_H
#define SHIM_H

#include "real.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "outband.h"

#define EXPORT __attribute__((visibility("default")))
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Threads and signals (inside.c, signals.c). */

struct thread {
	volatile unsigned int cut;  /* a signal waits until the thread has left the library */
	volatile int inside;        /* depth: the thread is in the library, or holds a lock */
	volatile unsigned int ran;  /* handlers that have run */
	volatile unsigned int hard; /* of them, those without SA_RESTART */
	volatile struct timespec sleep; /* what nap() gives the kernel; a handler sets it to 0 */
	bool ready;   /* it has a stack for signals */
	bool library; /* it is one of the library's own */
	sigset_t mask; /* while cut: what the program had blocked */
	char *stack;   /* for signals */
	stack_t wish;  /* what the program has asked for in its place */
	int tokens;    /* that nap() owes */
	struct owed { int token; const char *frame; } owed[8];
};

extern _Thread_local struct thread me __attribute__((tls_model("initial-exec"), visibility("hidden")));

#define SIGNAL_STACK (1u << 20)

void thread_prepare(void);
void thread_tidy(const char *frame);
void thread_tidy_here(void);
void let_signals_in(void);

/* A thread enters the library with enter(), and leaves it with leave(): a signal that comes
 * between them waits until leave(). */
static inline void enter(void)
{
	if (unlikely(!me.ready))
		thread_prepare();
	me.inside++;
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(me.tokens) && me.inside == 1)
		thread_tidy_here();
}

static inline void leave(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	me.inside--;
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(me.cut) && me.inside == 0)
		let_signals_in();
}

void signals_wrap(void);      /* the program's handlers, when the library is loaded */
void signals_save(void);      /* before that */

/* The library (library.c). */

#define LIBRARY_CALLS(X) \
	X(start) X(stop) X(error) X(socket) X(bind) X(connect) X(getsockname) X(getpeername) \
	X(shutdown) X(close) X(sendmsg) X(sendto) X(sendmmsg) X(getsockopt) X(setsockopt) X(ioctl) \
	X(pollfd) X(events) X(recvmsg_cut) X(recvmmsg_cut) X(spin) X(arm) X(disarm) X(where)

struct library {
	int state; /* 0: not loaded; 1: started; -1: cannot be */
	int floor; /* its descriptors lie at or above */
	bool own;  /* an address of the stack's own */
	bool always; /* spins always */
	int file;     /* it, for copies */
	int terminal; /* stderr, for what is said; 0: not yet */
	bool copy;   /* the next to be loaded is a copy */
#define FIELD(name) __typeof__(ob_##name) *name;
	LIBRARY_CALLS(FIELD)
#undef FIELD
	int (*holder)(int s);         /* NULL: this library has none */
	int (*adopt)(int s, int fd); /* as holder */
};

extern struct library lib;
bool library_start(void); /* at the first socket; false: all stays in-band */
void library_forget(void); /* in a child, where the library's threads are not */

/* Settings, from the environment (settings.c). */

enum fork_way { FORK_AGAIN, FORK_INBAND, FORK_FAIL };

struct settings {
	const char *device, *address, *gateway, *library;
	int64_t spin;
	enum fork_way fork;
	bool report;
	bool loopback; /* is the stack's too */
	uint16_t only[64];
	int ports; /* in only */
};

extern struct settings settings;
void settings_read(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sockets (table.c). */

enum side { UNDECIDED, OUT_OF_BAND, IN_BAND };

struct option { /* that was set, to be set again elsewhere */
	struct option *next;
	int level, name;
	socklen_t len;
	unsigned char value[];
};

struct sock {
	atomic_int side;
	int handle;
	int fds; /* descriptors that are it; guarded by table_lock */
	int domain, type, protocol;
	atomic_bool nonblock;
	bool settled; /* its name is known */
	bool held;    /* the descriptor is the holder's */
	atomic_uint stale; /* generation of the process that has the handle */
	_Atomic int64_t rcvtimeo, sndtimeo; /* ns; 0: without end */
	atomic_ullong in, out; /* datagrams */
	struct sockaddr_in local, peer; /* its names; family 0: it has none */
	struct kept *kept; /* what waited at fork; NULL: nothing */
	struct option *options, **last;
	struct member *members; /* of epolls */
	char why[96]; /* it is in-band */
	struct sock *next; /* free */
};

#define TABLE 65536
#define SHOWN 64 /* sockets that are closed and still reported */

extern _Atomic(struct sock *) table[TABLE];
extern pthread_mutex_t table_lock;
extern atomic_uint generation; /* forks since the program began */

struct sock *revive(struct sock *s, int fd); /* in a child: fork.c */
void fork_begins(void);
void unmap_rings(void);

/* Returns the socket that a descriptor is, NULL if it is not the stack's. */
static inline struct sock *find(int fd)
{
	struct sock *s;

	if ((unsigned int)fd >= TABLE || me.inside)
		return NULL;
	s = atomic_load_explicit(&table[fd], memory_order_acquire);
	if (s && unlikely(atomic_load_explicit(&s->stale, memory_order_relaxed) !=
			  atomic_load_explicit(&generation, memory_order_relaxed)))
		return revive(s, fd);
	return s;
}

struct sock *sock_new(int domain, int type, int protocol);
void table_set(int fd, struct sock *s);
void table_drop(int fd);  /* fd is closed, or is another file from now on */
bool shared_memory(void); /* after vfork(2): what is changed is the parent's */
void table_child(void);
void keep_option(struct sock *s, int level, int name, const void *value, socklen_t len);
bool to_inband(struct sock *s, const char *why);
void make_inband(struct sock *s, const char *why); /* the lock is held */

/* What waits in a queue at fork (kept.c). */

void keep_queue(struct sock *s);
bool kept_waits(struct sock *s);
ssize_t kept_receive(struct sock *s, struct msghdr *m, int flags);

/* Policy (policy.c). */

void decide(struct sock *s, int fd, const struct sockaddr *a, socklen_t len, bool binds);
void settle(struct sock *s, int fd); /* the descriptor becomes the holder's */
bool leave_library(struct sock *s, int fd);
void settle_locked(struct sock *s, int fd);
const char *unwanted(int domain, int type, int protocol);

/* Waiting (nap.c, ready.c). */

#define ARMS 16       /* descriptors of ob_arm */
#define NEVER INT64_MAX

int64_t now_ns(void);
int64_t after(int64_t ns); /* from now; below 0: NEVER */
int64_t timespec_ns(const struct timespec *t);

/* A call that may sleep: what has run since it began, and until when. */
struct call {
	unsigned int ran, hard; /* of me, as the call began */
	int64_t deadline;
	bool timed; /* by SO_RCVTIMEO or SO_SNDTIMEO: it is not restarted */
};

static inline struct call call_begins(int64_t timeo)
{
	return (struct call){me.ran, me.hard, timeo ? after(timeo) : NEVER, timeo != 0};
}

/* Sleeps until a socket of want, or a descriptor of files is ready, a handler has run since ran (-EINTR), or
 * the deadline passes (0). files has room for ARMS more. */
int nap(struct ob_want *want, unsigned int n, struct pollfd *files, unsigned int m, int64_t deadline, const sigset_t *mask, unsigned int ran);
/* Waits for one socket, as a call does that blocks: 0: try again; else -errno. */
int wait_one(struct sock *s, short events, struct call *c);
int interrupted(struct call *c); /* 0: the call goes on; else -EINTR */
int wait_files(struct pollfd *p, nfds_t n, int64_t deadline, const sigset_t *mask);

/* epoll (epoll.c). */

void epoll_socket_closed(struct sock *s); /* table_lock is held */
void epoll_moved(struct sock *s, int fd); /* it is in-band from now on */
void epoll_closed(int fd);
void epoll_copied(int from, int to);
void epoll_reopened(struct sock *s);

/* Report (report.c). */

void report(void);
void report_closed(struct sock *s, int fd);

static inline int fail(int code) { errno = -code; return -1; }
static inline ssize_t result(ssize_t n) { return n < 0 ? fail((int)n) : n; }

#endif
