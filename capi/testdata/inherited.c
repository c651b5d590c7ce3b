/* inherited.c DEVICE PEER ADDRESS FD... - a stack in a process without a capability, on sockets that
 * another process has opened. ADDRESS is one of its own, or - for the kernel's. An echo is at PEER, port 7. */
#include "calls.h"

int main(int argc, char **argv)
{
	struct ob_config c = {.size = sizeof(c)};
	struct sockaddr_in to;
	int s, i, e, fds[256];
	char b[8];

	if (argc < 5 || argc > 250)
		return 2;
	c.device = argv[1];
	c.address = strcmp(argv[3], "-") ? argv[3] : NULL;
	if (socket(AF_PACKET, SOCK_RAW, 0) >= 0)
		die("this process has capabilities", 0);
	e = ob_start(&c);
	if (e != -EPERM)
		die("without sockets", e);
	for (i = 4; i < argc; i++)
		fds[i - 4] = atoi(argv[i]);
	c.fds = fds;
	c.nfds = argc - 4;
	e = ob_start(&c);
	if (e)
		die("start", e);
	for (i = 4; i < argc; i++)
		close(fds[i - 4]);
	to = at(argv[2], 7);
	s = ob_socket(AF_INET, SOCK_DGRAM, 0);
	e = ob_connect(s, (struct sockaddr *)&to, sizeof(to));
	if (e)
		die("connect", e);
	for (i = 0; i < 100; i++) {
		struct ob_path path = {.size = sizeof(path)};
		struct timeval limit = {.tv_sec = 20};

		ob_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (ob_send(s, "x", 1, 0) != 1 || ob_recv(s, b, sizeof(b), 0) != 1)
			die("a round trip", 0);
		if (ob_where(s, &path) || path.by != OB_BY_RING)
			die("not by the ring", path.by);
	}
	return 0;
}
