/* poll, select and epoll over sockets and a pipe, and what they do in time. */
#include "say.h"

static struct sockaddr_in a, b;
static char buf[64];

static void check_poll(int x, int y, int *pipes)
{
	struct pollfd p[3] = {{x, POLLIN | POLLOUT, 0}, {y, POLLIN, 0}, {pipes[0], POLLIN, 0}};
	struct timespec t = {0, 10000000};
	double began;

	T(poll(p, 3, 0));
	printf("%x %x %x\n", p[0].revents, p[1].revents, p[2].revents);
	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	T(poll(p + 1, 2, 1000));
	printf("%x %x\n", p[1].revents, p[2].revents);
	T(write(pipes[1], "1", 1));
	T(poll(p + 1, 2, 1000));
	printf("%x %x\n", p[1].revents, p[2].revents);
	T(recv(y, buf, sizeof buf, 0));
	T(ppoll(p + 1, 2, &t, NULL));
	printf("%x %x\n", p[1].revents, p[2].revents);
	T(read(pipes[0], buf, sizeof buf));
	began = seconds();
	T(poll(p + 1, 2, 20));
	printf("in time: %d\n", seconds() - began > 0.019 && seconds() - began < 2);
	began = seconds();
	T(ppoll(p + 1, 1, &t, NULL));
	printf("in time: %d\n", seconds() - began > 0.0099 && seconds() - began < 2);
	p[2].fd = 999;
	T(poll(p + 1, 2, -1));
	printf("%x %x\n", p[1].revents, p[2].revents);
}

static void check_select(int x, int y, int *pipes)
{
	int n = (x > y ? x : y) + 1;
	fd_set r, w, e;
	struct timeval t = {0, 20000};
	double began = seconds();

	n = n > pipes[0] + 1 ? n : pipes[0] + 1;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&e);
	FD_SET(x, &r);
	FD_SET(y, &r);
	FD_SET(y, &e);
	FD_SET(pipes[0], &r);
	T(select(n, &r, NULL, &e, &t));
	printf("in time: %d, left %ld\n", seconds() - began > 0.019 && seconds() - began < 2, (long)t.tv_usec);
	printf("%d %d %d\n", FD_ISSET(x, &r), FD_ISSET(y, &r), FD_ISSET(pipes[0], &r));
	FD_SET(x, &w);
	FD_SET(y, &r);
	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	T(select(n, &r, &w, NULL, NULL));
	printf("%d %d\n", FD_ISSET(y, &r), FD_ISSET(x, &w));
	FD_SET(pipes[0], &r);
	T(write(pipes[1], "1", 1));
	T(pselect(n, &r, NULL, NULL, &(struct timespec){1, 0}, NULL));
	printf("%d %d\n", FD_ISSET(y, &r), FD_ISSET(pipes[0], &r));
	T(recv(y, buf, sizeof buf, 0));
	T(read(pipes[0], buf, sizeof buf));
	FD_SET(45, &r);
	T(select(46, &r, NULL, NULL, NULL));
}

static void show(const char *what, struct epoll_event *ev, int n)
{
	printf("%s:", what);
	for (int i = 0; i < n; i++)
		printf(" %x/%lx", ev[i].events, (long)ev[i].data.u64);
	printf("\n");
}

static void add(int e, int op, int fd, unsigned int events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	T(epoll_ctl(e, op, fd, &ev));
}

static void check_level(int e, int x, int y, int *pipes)
{
	struct epoll_event ev[8];

	add(e, EPOLL_CTL_ADD, y, EPOLLIN, 1);
	add(e, EPOLL_CTL_ADD, y, EPOLLIN, 1);
	add(e, EPOLL_CTL_ADD, pipes[0], EPOLLIN, 2);
	T(epoll_wait(e, ev, 8, 10));
	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	show("level", ev, epoll_wait(e, ev, 8, 1000));
	show("level", ev, epoll_pwait(e, ev, 8, 1000, NULL));
	T(write(pipes[1], "1", 1));
	for (int i = 0; i < 20; i++)
		T(epoll_wait(e, ev, 8, 1000) > 0);
	T(recv(y, buf, sizeof buf, 0));
	show("pipe", ev, epoll_wait(e, ev, 8, 1000));
	T(read(pipes[0], buf, sizeof buf));
	add(e, EPOLL_CTL_MOD, y, EPOLLIN | EPOLLOUT, 3);
	show("out", ev, epoll_wait(e, ev, 8, 1000));
	T(epoll_ctl(e, EPOLL_CTL_DEL, y, NULL));
	T(epoll_ctl(e, EPOLL_CTL_DEL, y, NULL));
	T(epoll_wait(e, ev, 8, 10));
	T(epoll_wait(e, ev, 0, 10));
}

static void check_edge(int e, int x, int y)
{
	struct epoll_event ev[8];

	add(e, EPOLL_CTL_ADD, y, EPOLLIN | EPOLLET, 4);
	T(epoll_wait(e, ev, 8, 10));
	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	show("edge", ev, epoll_wait(e, ev, 8, 1000));
	show("no edge", ev, epoll_wait(e, ev, 8, 20));
	T(recv(y, buf, sizeof buf, 0));
	T(sendto(x, "2", 1, 0, sa(&b), sizeof b));
	show("edge", ev, epoll_wait(e, ev, 8, 1000));
	add(e, EPOLL_CTL_MOD, y, EPOLLIN | EPOLLONESHOT, 5);
	show("once", ev, epoll_wait(e, ev, 8, 1000));
	show("never again", ev, epoll_wait(e, ev, 8, 20));
	add(e, EPOLL_CTL_MOD, y, EPOLLIN | EPOLLONESHOT, 6);
	show("once more", ev, epoll_wait(e, ev, 8, 1000));
	T(recv(y, buf, sizeof buf, 0));
}

static void check_nested(int e, int x, int y)
{
	struct epoll_event ev[8];
	int outer = epoll_create1(0);
	struct pollfd p = {.fd = e, .events = POLLIN};

	add(e, EPOLL_CTL_MOD, y, EPOLLIN, 7);
	add(outer, EPOLL_CTL_ADD, e, EPOLLIN, 8);
	T(poll(&p, 1, 10));
	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	T(poll(&p, 1, 1000));
	show("nested", ev, epoll_wait(outer, ev, 8, 1000));
	T(recv(y, buf, sizeof buf, 0));
	T(close(y));
	T(epoll_wait(e, ev, 8, 10));
}

int main(void)
{
	int x = bound(&a), y = bound(&b), pipes[2], e = epoll_create1(0);

	T(pipe(pipes));
	check_poll(x, y, pipes);
	check_select(x, y, pipes);
	check_level(e, x, y, pipes);
	check_edge(e, x, y);
	check_nested(e, x, y);
	return 0;
}
