/* What the test programs have in common: they print what calls return, in-band and by the shim,
 * and both must be the same. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Prints a call, its result and its errno. */
#define T(call) \
	__extension__({ \
		errno = 0; \
		long got_ = (long)(call); \
		int errno_ = errno; \
		printf("%s = %ld%s%s\n", #call, got_, got_ < 0 ? " " : "", got_ < 0 ? strerrorname_np(errno_) : ""); \
		fflush(stdout); \
		got_; \
	})

#define COUNT(a) (sizeof(a) / sizeof *(a))

__attribute__((unused)) static struct sockaddr_in at(const char *host, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, host, &a.sin_addr);
	return a;
}

__attribute__((unused)) static struct sockaddr *sa(struct sockaddr_in *a) { return (struct sockaddr *)a; }

/* A socket that is bound to 127.0.0.1 and a port of its own; its name is stored in a. */
__attribute__((unused)) static int bound(struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t n = sizeof *a;

	*a = at("127.0.0.1", 0);
	if (fd < 0 || bind(fd, sa(a), sizeof *a) < 0 || getsockname(fd, sa(a), &n) < 0) {
		perror("bound");
		exit(2);
	}
	return fd;
}

__attribute__((unused)) static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
