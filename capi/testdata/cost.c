/* cost.c DEVICE ADDRESS PEER COUNT - what calls cost in nanoseconds, the least of several
 * rounds: one line each. Somebody takes what is sent to PEER, port 9. */
#include "calls.h"

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

#define COST(name, call)                                                        \
	do {                                                                    \
		double least = 1e18;                                            \
		for (int round = 0; round < 9; round++) {                       \
			long long began = now();                                \
			for (int i = 0; i < count; i++)                         \
				if ((call) != want)                             \
					die(name, 0);                           \
			double each = (double)(now() - began) / count;          \
			least = each < least ? each : least;                    \
		}                                                               \
		printf("%s %.1f\n", name, least);                               \
	} while (0)

int main(int argc, char **argv)
{
	char b[64] = "";
	struct iovec v = {b, sizeof(b)};
	struct sockaddr_in to, from;
	struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1};
	int s, count;
	long want;

	if (argc != 5)
		return 2;
	start(argv[1], argv[2], 0);
	to = at(argv[3], 9);
	count = atoi(argv[4]);
	s = ob_socket(AF_INET, SOCK_DGRAM, 0);
	if (ob_connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect", 0);
	ob_send(s, b, sizeof(b), 0);
	want = -EBADF;
	COST("nothing", ob_recv(-1, b, sizeof(b), 0));
	want = -EAGAIN;
	COST("recv", ob_recv(s, b, sizeof(b), MSG_DONTWAIT));
	COST("recvmsg", ob_recvmsg(s, &m, MSG_DONTWAIT));
	want = sizeof(b);
	count /= 10;
	COST("send", ob_send(s, b, sizeof(b), 0));
	m.msg_name = NULL;
	COST("sendmsg", ob_sendmsg(s, &m, 0));
	return 0;
}
