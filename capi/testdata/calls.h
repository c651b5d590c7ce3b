/* calls.h - the same program over libc and over the library: C(call)(...) is one or the
 * other, and returns 0 or more, or -errno. */
#ifndef CALLS_H
#define CALLS_H

#include "outband.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef OVER_LIBC
#define C(call, ...) ({ long r_ = (long)call(__VA_ARGS__); r_ < 0 ? -(long)errno : r_; })
#else
#define C(call, ...) ((long)ob_##call(__VA_ARGS__))
#endif

static inline struct sockaddr_in at(const char *ip, int port)
{
	struct sockaddr_in a;

	memset(&a, 0, sizeof(a));
	a.sin_family = AF_INET;
	a.sin_port = htons(port);
	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

static inline void die(const char *what, long e)
{
	char why[1024] = "";

#ifndef OVER_LIBC
	ob_error(why, sizeof(why));
#endif
	fprintf(stderr, "%s: %s %s\n", what, strerror(e < 0 ? -e : e), why);
	exit(1);
}

/* start opens the stack on a device; address is NULL for the kernel's. */
static inline void start(const char *device, const char *address, int64_t spin)
{
#ifdef OVER_LIBC
	(void)device, (void)address, (void)spin;
#else
	struct ob_config c = {.size = sizeof(c), .device = device, .address = address, .spin = spin};
	int e = ob_start(&c);

	if (e)
		die("ob_start", e);
#endif
}

#endif
