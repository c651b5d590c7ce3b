/* floor.c DEVICE PEER - the library's descriptors lie at fd_floor or above it: a program that
 * closes all that it knows nothing of goes on. An echo is at PEER, port 7. */
#include "calls.h"

#include <dirent.h>

enum { FLOOR = 500 };

/* low returns how many descriptors lie below the floor. */
static int low(int show)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d))) {
		char to[256] = "", path[300];
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(d) || fd >= FLOOR)
			continue;
		n++;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (show && readlink(path, to, sizeof(to) - 1) > 0)
			printf("%d is %s\n", fd, to);
	}
	closedir(d);
	return n;
}

static void ask(int s, int wait)
{
	struct ob_want w = {.handle = s, .events = POLLIN};
	char b[8];

	if (ob_send(s, "x", 1, 0) != 1)
		die("send", 0);
	if (wait && ob_poll(&w, 1, -1) != 1)
		die("poll", 0);
	if (ob_recv(s, b, sizeof(b), 0) != 1)
		die("recv", 0);
}

int main(int argc, char **argv)
{
	struct ob_config c = {.size = sizeof(c), .fd_floor = FLOOR};
	struct sockaddr_in to;
	struct epoll_event ev = {.events = EPOLLIN};
	int before, s, e, i, fds[1] = {0};

	if (argc != 3)
		return 2;
	c.device = argv[1];
	ob_error(NULL, 0); /* returns when Go's runtime has started */
	before = low(0);
	c.fd_floor = -1;
	if (ob_start(&c) != -EINVAL)
		die("a negative floor", 0);
	c.fd_floor = 1 << 30;
	if (ob_start(&c) != -EMFILE)
		die("a floor beyond the limit", 0);
	c.fd_floor = FLOOR;
	c.fds = fds;
	c.nfds = 1;
	if (ob_start(&c) != -ENOTSOCK)
		die("descriptors that are none of ours", 0);
	c.nfds = 0;
	if (low(0) != before) {
		low(1);
		die("descriptors are left by what failed", 0);
	}
	i = ob_start(&c);
	if (i)
		die("start", i);
	to = at(argv[2], 7);
	s = ob_socket(AF_INET, SOCK_DGRAM, 0);
	if (ob_connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect", 0);
	ask(s, 0);
	ask(s, 1);
	if (ob_pollfd(s) < FLOOR)
		die("pollfd", 0);
	e = ob_epoll_create();
	if (ob_epoll_ctl(e, EPOLL_CTL_ADD, s, &ev) || ob_epoll_ctl(e, EPOLL_CTL_ADD, OB_FD(0), &ev) < -EPERM || ob_pollfd(e) < FLOOR)
		die("epoll", 0);
	i = low(0);
	if (i != before) {
		low(1);
		printf("%d descriptors lie below the floor, %d before\n", i, before);
		return 1;
	}
	for (i = 3; i < FLOOR; i++)
		close(i);
	ask(s, 0);
	ask(s, 1);
	return 0;
}
