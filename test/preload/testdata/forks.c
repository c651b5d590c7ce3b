/* fork x calls: a child uses what it has inherited. */
#include "say.h"
#include <spawn.h>
#include <sys/prctl.h>

static struct sockaddr_in a, b;
static char buf[64];
static int x, y;

/* Runs f in a child and tells how it ends. */
static void child(const char *what, void (*f)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(20);
		f();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("%s: ended by %d\n", what, status);
}

static void nothing(void) {}
static void opens(void)
{
	struct sockaddr_in c;
	int z = bound(&c);

	T(sendto(z, "own", 3, 0, sa(&c), sizeof c));
	T(recv(z, buf, sizeof buf, 0));
}

static void receives(void)
{
	struct pollfd p = {y, POLLIN, 0};
	int z = bound(&b);
	struct sockaddr_in name;
	socklen_t len = sizeof name;

	T(getsockname(y, sa(&name), &len));
	T(sendto(z, "1", 1, 0, sa(&name), sizeof name));
	T(poll(&p, 1, 2000));
	T(recv(y, buf, sizeof buf, 0));
	T(sendto(z, "22", 2, 0, sa(&name), sizeof name));
	T(recv(y, buf, sizeof buf, 0));
}

static void selects(void)
{
	fd_set r;

	FD_ZERO(&r);
	FD_SET(y, &r);
	T(select(y + 1, &r, NULL, NULL, &(struct timeval){0, 10000}));
	receives();
}

static void waits_by_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 9};
	int e = epoll_create1(0);

	T(epoll_ctl(e, EPOLL_CTL_ADD, y, &ev));
	T(epoll_wait(e, &ev, 1, 10));
	receives();
}

static void keeps_options(void)
{
	int n = 0;
	socklen_t len = sizeof n;

	T(getsockopt(y, SOL_SOCKET, SO_BROADCAST, &n, &len));
	T(n);
	T(getsockopt(y, IPPROTO_IP, IP_TTL, &n, &len));
	T(n);
	T(recv(y, buf, sizeof buf, MSG_DONTWAIT));
}

static void *in_thread(void *f)
{
	((void (*)(void))f)();
	return NULL;
}

static void in_threads(void)
{
	pthread_t t;

	pthread_create(&t, NULL, in_thread, (void *)receives);
	pthread_join(t, NULL);
}

/* As daemons do: fork twice, the parents gone, and all but the socket closed. */
static void daemon_of(void)
{
	int done[2];
	char c;

	if (pipe(done) == 0 && fork() == 0) {
		setsid();
		if (fork() != 0)
			_exit(0);
		for (int fd = 3; fd < 20000; fd++)
			if (fd != y && fd != done[1])
				close(fd);
		receives();
		fflush(stdout);
		_exit(0);
	}
	close(done[1]);
	T(read(done[0], &c, 1));
}

static void grandchild(void)
{
	receives();
	child("grandchild", receives);
}

/* A child of vfork closes the parent's sockets, and the parent still has them. */
static void after_vfork(void)
{
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		close(x);
		dup2(0, y);
		_exit(3);
	}
	waitpid(pid, &status, 0);
	T(WEXITSTATUS(status));
	receives();
}

static void by_spawn(void)
{
	char *argv[] = {"/bin/sh", "-c", "exit 5", NULL};
	int status;
	pid_t pid;

	T(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ));
	waitpid(pid, &status, 0);
	T(WEXITSTATUS(status));
	T(WEXITSTATUS(system("exit 6")));
	receives();
}

/* What waits at fork is received once, by whoever comes first. */
static void first_of_two(void)
{
	char c[8];

	T(poll(&(struct pollfd){y, POLLIN, 0}, 1, 0));
	T(recv(y, c, 1, MSG_PEEK | MSG_TRUNC));
	T(recv(y, c, sizeof c, MSG_DONTWAIT));
	printf("%.4s\n", c);
	T(recv(y, c, sizeof c, MSG_DONTWAIT));
	T(poll(&(struct pollfd){y, POLLIN, 0}, 1, 0));
}

static void queue(void)
{
	T(sendto(x, "wait", 4, 0, sa(&b), sizeof b));
	child("first", first_of_two);
	T(recv(y, buf, sizeof buf, MSG_DONTWAIT));
	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	child("nothing", nothing);
	T(recv(y, buf, sizeof buf, 0));
}

int main(int argc, char **argv)
{
	int on = 1, ttl = 9;
	pid_t pid;

	(void)argv;
	child("before", opens);
	x = bound(&a);
	y = bound(&b);
	setsockopt(y, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
	setsockopt(y, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
	child("nothing", nothing);
	if (!getenv("OUTBAND_FORK")) /* in-band nothing of the queue is the child's */
		queue();
	child("of its own", opens);
	receives();
	if (argc > 1) { /* the parent is gone before the child begins */
		int gone[2];
		char c;

		if (pipe(gone) < 0)
			return 1;
		fflush(stdout);
		pid = fork();
		if (pid)
			_exit(0);
		close(gone[1]);
		if (read(gone[0], &c, 1) < 0)
			return 1;
	}
	child("options", keeps_options);
	child("receive", receives);
	child("select", selects);
	child("epoll", waits_by_epoll);
	child("threads", in_threads);
	child("daemon", daemon_of);
	child("grandchild", grandchild);
	child("vfork", after_vfork);
	child("spawn", by_spawn);
	return 0;
}
