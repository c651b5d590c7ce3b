/* Signals x calls: who is interrupted, who goes on, on what stack, with what mask. */
#include "say.h"
#include <sys/signalfd.h>

static struct sockaddr_in a, b;
static int x, y, e;
static char buf[64];
static volatile int handled, depth, deepest;
static volatile unsigned int used;
static sigjmp_buf back;

static void plain(int sig)
{
	(void)sig;
	handled++;
}

static void big(int sig)
{
	volatile char frame[400000];

	(void)sig;
	for (size_t i = 0; i < sizeof frame; i += 512)
		frame[i] = (char)i;
	used += (unsigned char)frame[1024];
	handled++;
}

static void jump(int sig)
{
	handled++;
	siglongjmp(back, sig);
}

static void nested(int sig)
{
	depth++;
	deepest = depth > deepest ? depth : deepest;
	if (sig == SIGALRM && handled == 0) {
		raise(SIGUSR2);
		raise(SIGALRM); /* is blocked */
	}
	handled++;
	depth--;
}

static void receives(int sig)
{
	char c[4];

	(void)sig;
	handled += (int)recv(x, c, sizeof c, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void set(int sig, void (*f)(int), int flags)
{
	struct sigaction act = {.sa_handler = f, .sa_flags = flags};

	sigemptyset(&act.sa_mask);
	if (sigaction(sig, &act, NULL) < 0)
		perror("sigaction");
}

static void timer(long first, long every)
{
	struct itimerval t = {{0, every}, {0, first}};

	setitimer(ITIMER_REAL, &t, NULL);
}

/* Sends a datagram 20 ms after the signal is handled; one that never is has 500 ms. */
static void *later(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50 && !handled; i++)
		usleep(10000);
	usleep(20000);
	sendto(x, "1", 1, 0, sa(&b), sizeof b);
	return NULL;
}

static long by_recv(void) { return recv(y, buf, sizeof buf, 0); }
static long by_read(void) { return read(y, buf, sizeof buf); }

static long by_recvmsg(void)
{
	struct msghdr m = {.msg_iov = &(struct iovec){buf, sizeof buf}, .msg_iovlen = 1};

	return recvmsg(y, &m, 0);
}

static long by_recvmmsg(void)
{
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &(struct iovec){buf, sizeof buf}, .msg_iovlen = 1}};

	return recvmmsg(y, &m, 1, 0, NULL);
}

static long by_poll(void) { return poll(&(struct pollfd){y, POLLIN, 0}, 1, 2000); }
static long by_ppoll(void) { return ppoll(&(struct pollfd){y, POLLIN, 0}, 1, NULL, NULL); }

static long by_select(void)
{
	fd_set r;

	FD_ZERO(&r);
	FD_SET(y, &r);
	return select(y + 1, &r, NULL, NULL, NULL);
}

static long by_epoll(void)
{
	struct epoll_event ev;

	return epoll_wait(e, &ev, 1, 2000);
}

static long with_timeout(void)
{
	struct timeval t = {2, 0}, none = {0, 0};
	long n;
	int saved;

	setsockopt(y, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	n = recv(y, buf, sizeof buf, 0);
	saved = errno;
	setsockopt(y, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
	errno = saved;
	return n;
}

static const struct { const char *name; long (*f)(void); } calls[] = {
	{"recv", by_recv}, {"read", by_read}, {"recvmsg", by_recvmsg}, {"recvmmsg", by_recvmmsg}, {"recv with a time-out", with_timeout},
	{"poll", by_poll}, {"ppoll", by_ppoll}, {"select", by_select}, {"epoll_wait", by_epoll},
};

static const struct { const char *name; int flags; } kinds[] = {
	{"", 0}, {"SA_RESTART", SA_RESTART}, {"SA_ONSTACK", SA_ONSTACK}, {"SA_RESTART|SA_ONSTACK", SA_RESTART | SA_ONSTACK},
	{"SA_NODEFER", SA_NODEFER},
};

static const struct { const char *name; void (*f)(int); } handlers[] = {{"plain", plain}, {"big", big}, {"nested", nested}, {"receives", receives}};

static void drain(void)
{
	while (recv(y, buf, sizeof buf, MSG_DONTWAIT) >= 0)
		;
}

/* Where the machine is so busy that the signal came before the call, it is done again. */
static void one(size_t call, size_t kind, size_t handler)
{
	pthread_t t;
	sigset_t all, old;
	long n;
	int code, early;

again:
	handled = 0;
	set(SIGALRM, handlers[handler].f, kinds[kind].flags);
	set(SIGUSR2, handlers[handler].f, kinds[kind].flags);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old); /* the signal is this thread's */
	pthread_create(&t, NULL, later, NULL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	timer(10000, 0);
	errno = 0;
	early = handled;
	n = calls[call].f();
	code = errno;
	if (early) {
		pthread_join(t, NULL);
		drain();
		goto again;
	}
	printf("%s, %s, %s: %ld %s, %s\n", calls[call].name, kinds[kind].name, handlers[handler].name, n,
	       n < 0 ? strerrorname_np(code) : "", handled ? "handled" : "not handled");
	pthread_join(t, NULL);
	drain();
}

static void jumps(size_t call)
{
	volatile int times = 0;

	set(SIGALRM, jump, 0);
	for (times = 0; times < 20; times++) {
		if (sigsetjmp(back, 1) == 0) {
			timer(1000 + times * 50, 0);
			calls[call].f();
			printf("not interrupted\n");
		}
	}
	sendto(x, "1", 1, 0, sa(&b), sizeof b);
	printf("%s after jumps: %ld\n", calls[call].name, calls[call].f());
	drain();
}

/* Every expiry of a timer of 1 kHz ends a receive. */
static void storm(void)
{
	int ends = 0, sent = 0, got = 0;

	set(SIGALRM, big, 0);
	timer(1000, 1000);
	while (ends < 300) {
		if (recv(y, buf, sizeof buf, 0) >= 0)
			continue;
		ends += errno == EINTR;
		if (ends % 3 == 0)
			sent += sendto(x, "1", 1, 0, sa(&b), sizeof b) == 1;
	}
	timer(0, 0);
	while (recv(y, buf, sizeof buf, MSG_DONTWAIT) > 0)
		got = 1;
	printf("storm: %d, sent %d, left %d\n", ends, sent, got >= 0);
}

static void masks(void)
{
	struct pollfd p = {y, POLLIN, 0};
	sigset_t none, alarm, old;

	sigemptyset(&none);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm, &old);
	set(SIGALRM, plain, SA_RESTART);
	handled = 0;
	timer(5000, 0);
	T(poll(&p, 1, 40));
	T(handled);
	T(ppoll(&p, 1, NULL, &none));
	T(handled);
	timer(5000, 0);
	T(pselect(0, NULL, NULL, NULL, &(struct timespec){0, 20000000}, NULL));
	T(ppoll(&p, 1, &(struct timespec){0, 10000000}, &alarm));
	T(epoll_pwait(e, &(struct epoll_event){0}, 1, -1, &none));
	T(handled);
	sigprocmask(SIG_SETMASK, &old, NULL);
	T(sigismember(&old, SIGALRM));
}

static void actions(void)
{
	struct sigaction act;
	stack_t st = {.ss_sp = malloc(65536), .ss_size = 65536}, old;

	T(sigaction(SIGSEGV, NULL, &act));
	printf("default: %d\n", act.sa_handler == SIG_DFL);
	T(sigaction(SIGPIPE, NULL, &act));
	printf("default: %d\n", act.sa_handler == SIG_DFL);
	set(SIGALRM, plain, SA_RESETHAND);
	T(sigaction(SIGALRM, NULL, &act));
	printf("ours: %d, flags %x\n", act.sa_handler == plain, act.sa_flags);
	raise(SIGALRM);
	T(sigaction(SIGALRM, NULL, &act));
	printf("default: %d\n", act.sa_handler == SIG_DFL);
	printf("old: %d\n", signal(SIGALRM, plain) == SIG_DFL);
	printf("old: %d\n", signal(SIGALRM, SIG_IGN) == plain);
	T(siginterrupt(SIGALRM, 1));
	T(sigaction(SIGKILL, &act, NULL));
	T(sigaction(99, &act, NULL));
	T(sigaltstack(&st, NULL));
	T(sigaltstack(NULL, &old));
	printf("%d %d\n", old.ss_sp == st.ss_sp, (int)old.ss_size);
	st.ss_size = 10;
	T(sigaltstack(&st, NULL));
}

static void by_descriptor(void)
{
	sigset_t set, old;
	struct signalfd_siginfo info;
	struct pollfd p[2] = {{y, POLLIN, 0}, {-1, POLLIN, 0}};

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	p[1].fd = signalfd(-1, &set, SFD_CLOEXEC);
	kill(getpid(), SIGUSR1);
	T(poll(p, 2, 1000));
	printf("%x %x\n", p[0].revents, p[1].revents);
	T(read(p[1].fd, &info, sizeof info));
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(p[1].fd);
}

/* How a child ends that a signal ends. */
static void ends(const char *what, void (*f)(void))
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		x = bound(&a); /* a library of its own */
		sendto(x, "1", 1, 0, sa(&a), sizeof a);
		f();
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("%s: %s %d\n", what, WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void segv(void) { *(volatile int *)8 = 1; }
static void term(void)
{
	timer(10000, 0);
	signal(SIGALRM, SIG_DFL);
	recv(x, buf, 1, 0);
	recv(x, buf, 1, 0);
}
static void broken(void)
{
	int p[2];

	if (pipe(p) == 0)
		close(p[0]);
	_exit(write(p[1], "1", 1) < 0);
}
static void recovers(void)
{
	set(SIGSEGV, jump, 0);
	if (sigsetjmp(back, 1) == 0)
		segv();
	_exit(recv(x, buf, 4, 0) == 1 ? 7 : 8);
}

static volatile int ended;

static void *other(void *arg)
{
	T(recv(y, buf, sizeof buf, 0));
	ended = 1;
	return arg;
}

static void threads(void)
{
	pthread_t t;

	handled = 0;
	set(SIGUSR2, plain, 0);
	pthread_create(&t, NULL, other, NULL);
	while (!ended) { /* it may not be waiting yet */
		pthread_kill(t, SIGUSR2);
		usleep(20000);
	}
	pthread_join(t, NULL);
	T(handled > 0);
	pthread_create(&t, NULL, other, NULL);
	usleep(20000);
	pthread_cancel(t);
	pthread_join(t, NULL);
	puts("cancelled");
}

int main(void)
{
	struct epoll_event ev = {.events = EPOLLIN};

	x = bound(&a);
	y = bound(&b);
	e = epoll_create1(0);
	epoll_ctl(e, EPOLL_CTL_ADD, y, &ev);
	for (size_t c = 0; c < COUNT(calls); c++) {
		for (size_t k = 0; k < COUNT(kinds); k++)
			one(c, k, (c + k) % 2);
		one(c, 0, 2);
		one(c, 1, 3);
		jumps(c);
	}
	storm();
	masks();
	actions();
	by_descriptor();
	threads();
	ends("SIGSEGV", segv);
	ends("SIGALRM", term);
	ends("SIGPIPE", broken);
	ends("a SIGSEGV that is caught", recovers);
	return 0;
}
