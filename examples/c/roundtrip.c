/* roundtrip - round trips over the stack, by the C library.
 *
 *   roundtrip DEVICE PORT                answers what comes to a port
 *   roundtrip DEVICE PORT PEER [COUNT]   asks a peer, and says how long that took
 *
 * DEVICE may have =ADDRESS/BITS behind it: an address of the stack's own, in place of those of
 * the kernel's.
 */
#include <outband.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, int e)
{
	char why[512] = "";

	if (ob_error(why, sizeof(why)) > 0)
		fprintf(stderr, "%s: %s\n", what, why);
	else
		fprintf(stderr, "%s: %s\n", what, strerror(-e));
	return 1;
}

/* Answers what comes, up to 32 datagrams a call: the messages' buffers are used where they are. */
static int serve(int s)
{
	static char data[32][2048];
	struct sockaddr_in from[32];
	struct iovec iov[32];
	struct mmsghdr m[32];
	int i, n, e;

	for (;;) {
		for (i = 0; i < 32; i++) {
			iov[i].iov_base = data[i];
			iov[i].iov_len = sizeof(data[i]);
			memset(&m[i], 0, sizeof(m[i]));
			m[i].msg_hdr.msg_name = &from[i];
			m[i].msg_hdr.msg_namelen = sizeof(from[i]);
			m[i].msg_hdr.msg_iov = &iov[i];
			m[i].msg_hdr.msg_iovlen = 1;
		}
		n = ob_recvmmsg(s, m, 32, MSG_WAITFORONE, NULL);
		if (n < 0)
			return fail("recvmmsg", n);
		for (i = 0; i < n; i++)
			iov[i].iov_len = m[i].msg_len;
		e = ob_sendmmsg(s, m, (unsigned int)n, 0);
		if (e < 0)
			return fail("sendmmsg", e);
	}
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int shorter(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

static int ask(int s, const struct sockaddr_in *peer, int count)
{
	struct timeval limit = {1, 0};
	long long *took = calloc((size_t)count, sizeof(*took));
	int i, e, lost = 0;
	char b[64];

	if (!took)
		return fail("calloc", -12);
	e = ob_connect(s, (const struct sockaddr *)peer, sizeof(*peer));
	if (e)
		return fail("connect", e);
	ob_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (i = 0; i < count; i++) {
		long long began = now();
		ssize_t n = ob_send(s, memset(b, i, sizeof(b)), sizeof(b), 0);

		if (n >= 0)
			n = ob_recv(s, b, sizeof(b), 0);
		if (n < 0)
			lost++;
		took[i] = now() - began;
	}
	qsort(took, (size_t)count, sizeof(*took), shorter);
	printf("%d round trips: min %lld ns, median %lld ns, %d lost\n", count, took[0], took[count / 2], lost);
	free(took);
	return lost == count;
}

int main(int argc, char **argv)
{
	struct ob_config config = {.size = sizeof(config), .spin = OB_SPIN_ADAPTIVE};
	struct sockaddr_in local = {.sin_family = AF_INET}, peer = local;
	char device[64];
	char *address;
	int s, e, count;

	if (argc < 3 || argc > 5) {
		fprintf(stderr, "usage: %s DEVICE[=ADDRESS/BITS] PORT [PEER [COUNT]]\n", argv[0]);
		return 2;
	}
	snprintf(device, sizeof(device), "%s", argv[1]);
	address = strchr(device, '=');
	if (address)
		*address++ = 0;
	config.device = device;
	config.address = address;
	e = ob_start(&config);
	if (e)
		return fail("start", e);
	s = ob_socket(AF_INET, SOCK_DGRAM, 0);
	if (s < 0)
		return fail("socket", s);
	if (argc == 3) {
		local.sin_port = htons((uint16_t)atoi(argv[2]));
		e = ob_bind(s, (struct sockaddr *)&local, sizeof(local));
		if (e)
			return fail("bind", e);
		printf("port %s\n", argv[2]);
		fflush(stdout);
		e = serve(s);
	} else {
		peer.sin_port = htons((uint16_t)atoi(argv[2]));
		if (inet_pton(AF_INET, argv[3], &peer.sin_addr) != 1)
			return fail(argv[3], -22);
		count = argc == 5 ? atoi(argv[4]) : 1000;
		e = ask(s, &peer, count > 0 ? count : 1);
	}
	ob_close(s);
	ob_stop();
	return e;
}
