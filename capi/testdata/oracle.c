/* oracle.c DEVICE OWN PEER - calls of all kinds on sockets at the address OWN, which the
 * kernel has, with an echo at PEER, port 7, and nobody at its port 9. Each prints what it has
 * returned. */
#include "calls.h"

static struct sockaddr_in own, echo, nobody;

#define SA(a) ((struct sockaddr *)(a))
#define SHOW(what, value) printf("%-40s %ld\n", what, (long)(value))

static void show_name(const char *what, struct sockaddr_in *a, socklen_t n)
{
	char ip[INET_ADDRSTRLEN];

	printf("%-40s len %u", what, n);
	if (n)
		printf(" family %d %s:%d", a->sin_family, inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip)), ntohs(a->sin_port));
	printf("\n");
}

static int udp(int port, int flags)
{
	struct sockaddr_in a = own;
	long s = C(socket, AF_INET, SOCK_DGRAM | flags, 0), e;
	struct timeval limit = {.tv_sec = 20};

	if (s < 0)
		die("socket", s);
	a.sin_port = htons(port);
	e = C(bind, s, SA(&a), sizeof(a));
	if (e)
		die("bind", e);
	e = C(setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)); /* so that no run is without end */
	if (e)
		die("SO_RCVTIMEO", e);
	return s;
}

static void sockets(void)
{
	int s;

	SHOW("socket/stream out of range", C(socket, AF_INET, 77, 0));
	SHOW("socket/protocol", C(socket, AF_INET, SOCK_DGRAM, 77));
	SHOW("socket/family", C(socket, 4711, SOCK_DGRAM, 0));
	SHOW("close/nothing", C(close, 9999));
	SHOW("bind/nothing", C(bind, 9999, SA(&own), sizeof(own)));
	SHOW("recv/nothing", C(recv, 9999, NULL, 0, MSG_DONTWAIT));
	SHOW("close/-1", C(close, -1));
	s = udp(7001, SOCK_NONBLOCK | SOCK_CLOEXEC);
	SHOW("fcntl/F_GETFL", C(fcntl, s, F_GETFL, 0) & O_NONBLOCK);
	SHOW("fcntl/F_SETFL", C(fcntl, s, F_SETFL, 0));
	SHOW("fcntl/F_GETFL again", C(fcntl, s, F_GETFL, 0) & O_NONBLOCK);
	SHOW("close", C(close, s));
	SHOW("close/again", C(close, s));
}

static void names(void)
{
	struct sockaddr_in a = own, got;
	struct sockaddr un = {.sa_family = AF_UNIX};
	char large[200] = {AF_INET};
	socklen_t n = sizeof(got);
	long s = C(socket, AF_INET, SOCK_DGRAM, 0);

	a.sin_port = htons(7002);
	SHOW("bind/length", C(bind, s, SA(&a), 15));
	SHOW("bind/length 0", C(bind, s, SA(&a), 0));
	SHOW("bind/too long", C(bind, s, SA(large), sizeof(large)));
	SHOW("bind/negative", C(bind, s, SA(&a), (socklen_t)-1));
	SHOW("bind/NULL", C(bind, s, NULL, sizeof(a)));
	SHOW("bind/family", C(bind, s, &un, sizeof(un)));
	SHOW("bind", C(bind, s, SA(&a), sizeof(a)));
	SHOW("bind/again", C(bind, s, SA(&a), sizeof(a)));
	SHOW("getsockname", C(getsockname, s, SA(&got), &n));
	show_name("getsockname", &got, n);
	n = 4;
	memset(&got, 0, sizeof(got));
	SHOW("getsockname/short", C(getsockname, s, SA(&got), &n));
	show_name("getsockname/short", &got, n);
	n = sizeof(got);
	SHOW("getpeername/none", C(getpeername, s, SA(&got), &n));
	SHOW("connect/length", C(connect, s, SA(&echo), 15));
	SHOW("connect/length 1", C(connect, s, SA(&echo), 1));
	SHOW("connect/family", C(connect, s, &un, sizeof(un)));
	SHOW("connect", C(connect, s, SA(&echo), sizeof(echo)));
	SHOW("getpeername", C(getpeername, s, SA(&got), &n));
	show_name("getpeername", &got, n);
	memset(&un, 0, sizeof(un));
	SHOW("connect/AF_UNSPEC", C(connect, s, &un, 2));
	SHOW("getpeername/again", C(getpeername, s, SA(&got), &n));
	SHOW("shutdown/without a peer", C(shutdown, s, SHUT_RDWR));
	SHOW("shutdown/how", C(shutdown, s, 7));
	C(close, s);
}

static void transfer(void)
{
	char b[64] = "", *none = NULL;
	struct sockaddr_in from;
	struct sockaddr un = {.sa_family = AF_UNIX};
	socklen_t n = sizeof(from);
	int s = udp(7003, 0);

	SHOW("recv/empty", C(recv, s, b, sizeof(b), MSG_DONTWAIT));
	SHOW("send/no peer", C(send, s, "x", 1, 0));
	SHOW("sendto/length", C(sendto, s, "x", 1, 0, SA(&echo), 15));
	SHOW("sendto/family", C(sendto, s, "x", 1, 0, &un, sizeof(un)));
	SHOW("sendto/NULL", C(sendto, s, none, 5, 0, SA(&echo), sizeof(echo)));
	SHOW("sendto", C(sendto, s, "hello", 5, 0, SA(&echo), sizeof(echo)));
	SHOW("recvfrom/peek", C(recvfrom, s, b, sizeof(b), MSG_PEEK, SA(&from), &n));
	show_name("recvfrom/peek", &from, n);
	n = 6;
	memset(&from, 0, sizeof(from));
	SHOW("recvfrom/cut", C(recvfrom, s, b, 2, MSG_TRUNC, SA(&from), &n));
	printf("%-40s %u %d\n", "recvfrom/cut, the name", n, ntohs(from.sin_port));
	printf("%.2s\n", b);
	SHOW("sendto/empty", C(sendto, s, NULL, 0, 0, SA(&echo), sizeof(echo)));
	SHOW("sendto/no address, with a length", C(sendto, s, "x", 1, 0, NULL, sizeof(echo)));
	SHOW("recv/empty datagram", C(recv, s, b, sizeof(b), 0));
	SHOW("connect", C(connect, s, SA(&echo), sizeof(echo)));
	SHOW("send", C(send, s, "again", 5, 0));
	SHOW("recv", C(recv, s, b, sizeof(b), 0));
	SHOW("sendto/too long", C(sendto, s, b, 65508, 0, NULL, 0));
	SHOW("shutdown/write", C(shutdown, s, SHUT_WR));
	SHOW("send/shut down", C(send, s, "x", 1, MSG_NOSIGNAL));
	SHOW("shutdown/read", C(shutdown, s, SHUT_RD));
	n = sizeof(from);
	SHOW("recvfrom/shut down", C(recvfrom, s, b, sizeof(b), 0, SA(&from), &n));
	show_name("recvfrom/shut down", &from, n);
	C(close, s);
}

static void message(const char *what, int s, struct msghdr *m, int flags)
{
	struct cmsghdr *c;

	SHOW(what, C(recvmsg, s, m, flags));
	printf("  name %u flags %#x control %zu\n", m->msg_namelen, m->msg_flags, (size_t)m->msg_controllen);
	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		printf("  level %d type %d len %zu\n", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
}

static void messages(void)
{
	char b[4][16] = {"one,", "two,", "three,", "four"}, control[256];
	struct sockaddr_in from = echo;
	struct iovec iov[12] = {{b[0], 4}, {b[1], 4}, {b[2], 6}, {b[3], 4}};
	struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = iov, .msg_iovlen = 4};
	int s = udp(7004, 0), on = 1, ttl = 3, i;
	struct cmsghdr *c;

	SHOW("setsockopt/IP_PKTINFO", C(setsockopt, s, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)));
	SHOW("setsockopt/IP_RECVTTL", C(setsockopt, s, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)));
	SHOW("setsockopt/SO_TIMESTAMP", C(setsockopt, s, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)));
	SHOW("sendmsg", C(sendmsg, s, &m, 0));
	m.msg_control = control;
	m.msg_controllen = sizeof(control);
	memset(b, 0, sizeof(b));
	message("recvmsg", s, &m, 0);
	printf("%s%s%s%s\n", b[0], b[1], b[2], b[3]);
	for (i = 0; i < 12; i++)
		iov[i] = (struct iovec){b[i % 4], 2};
	m.msg_iovlen = 12;
	m.msg_control = NULL;
	SHOW("sendmsg/no control", C(sendmsg, s, &m, 0));
	m.msg_controllen = 0;
	SHOW("sendmsg/12 buffers", C(sendmsg, s, &m, 0));
	m.msg_control = control;
	m.msg_controllen = 24;
	m.msg_iovlen = 1;
	message("recvmsg/cut", s, &m, 0);
	m.msg_controllen = CMSG_SPACE(sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL};
	memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
	m.msg_name = &echo;
	m.msg_namelen = sizeof(echo);
	SHOW("sendmsg/control", C(sendmsg, s, &m, 0));
	c->cmsg_type = 4711;
	SHOW("sendmsg/bad control", C(sendmsg, s, &m, 0));
	m.msg_control = NULL;
	m.msg_controllen = 0;
	m.msg_name = NULL;
	message("recvmsg/no name", s, &m, 0);
	SHOW("sendmsg/no name", C(sendmsg, s, &m, 0));
	m.msg_name = &from;
	m.msg_namelen = (socklen_t)-1;
	SHOW("recvmsg/negative", C(recvmsg, s, &m, MSG_DONTWAIT));
	m.msg_namelen = sizeof(from);
	m.msg_iovlen = 1025;
	SHOW("recvmsg/too many", C(recvmsg, s, &m, MSG_DONTWAIT));
	m.msg_iovlen = 1;
	iov[0].iov_len = (size_t)-1;
	SHOW("recvmsg/too long", C(recvmsg, s, &m, MSG_DONTWAIT));
	C(close, s);
}

static void many(void)
{
	char b[8][16];
	struct iovec iov[8];
	struct sockaddr_in from[8];
	struct mmsghdr m[8];
	struct timespec limit = {.tv_nsec = 1000000000};
	int s = udp(7005, 0), i;

	memset(m, 0, sizeof(m));
	for (i = 0; i < 8; i++) {
		iov[i] = (struct iovec){b[i], snprintf(b[i], sizeof(b[i]), "number %d", i)};
		from[i] = echo;
		m[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &iov[i], .msg_iovlen = 1};
	}
	SHOW("sendmmsg", C(sendmmsg, s, m, 8, 0));
	for (i = 0; i < 8; i++)
		SHOW("  length", m[i].msg_len);
	memset(b, 0, sizeof(b));
	SHOW("recvmmsg", C(recvmmsg, s, m, 8, 0, NULL));
	for (i = 0; i < 8; i++)
		printf("  %u %.8s\n", m[i].msg_len, b[i]);
	m[3].msg_hdr.msg_iov[0].iov_len = (size_t)-1;
	SHOW("sendmmsg/a bad one", C(sendmmsg, s, m, 8, 0));
	iov[3].iov_len = 8;
	SHOW("recvmmsg/three", C(recvmmsg, s, m, 3, 0, NULL));
	SHOW("recvmmsg/limit", C(recvmmsg, s, m, 8, 0, &limit));
	limit.tv_nsec = 0;
	SHOW("sendmmsg", C(sendmmsg, s, m, 2, 0));
	SHOW("recvmmsg/passed", C(recvmmsg, s, m, 2, 0, &limit));
	printf("  %ld.%09ld\n", (long)limit.tv_sec, limit.tv_nsec);
	SHOW("recvmmsg/the other", C(recvmmsg, s, m, 1, 0, NULL));
	SHOW("recvmmsg/none", C(recvmmsg, s, m, 0, 0, NULL));
	SHOW("recvmmsg/empty", C(recvmmsg, s, m, 2, MSG_DONTWAIT, NULL));
	C(close, s);
}

static void errors(void)
{
	char b[64], control[256];
	struct sockaddr_in to;
	struct iovec iov = {b, sizeof(b)};
	struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int s = udp(7006, 0), on = 1, e = 0;
	socklen_t n = sizeof(e);

	SHOW("connect", C(connect, s, SA(&nobody), sizeof(nobody)));
	SHOW("send", C(send, s, "x", 1, 0));
	SHOW("recv/refused", C(recv, s, b, sizeof(b), 0));
	SHOW("setsockopt/IP_RECVERR", C(setsockopt, s, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)));
	SHOW("send", C(send, s, "again", 5, 0));
	SHOW("recv/refused", C(recv, s, b, sizeof(b), 0));
	message("recvmsg/MSG_ERRQUEUE", s, &m, MSG_ERRQUEUE);
	show_name("  about", &to, sizeof(to));
	SHOW("getsockopt/SO_ERROR", C(getsockopt, s, SOL_SOCKET, SO_ERROR, &e, &n));
	SHOW("  value", e);
	C(close, s);
}

static void options(void)
{
	int s = udp(7007, 0), other = udp(7010, 0), v = 0, i;
	struct sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, 0}};
	struct sock_fprog prog = {1, code};
	struct ifreq r;
	struct ifconf conf;
	char b[1024];
	socklen_t n;
	static const int names[][2] = {{SOL_SOCKET, SO_TYPE}, {SOL_SOCKET, SO_DOMAIN}, {SOL_SOCKET, SO_PROTOCOL}, {SOL_SOCKET, SO_RCVBUF}, {SOL_SOCKET, SO_REUSEADDR},
		{SOL_SOCKET, SO_BROADCAST}, {IPPROTO_IP, IP_TTL}, {IPPROTO_IP, IP_TOS}, {IPPROTO_IP, IP_MULTICAST_TTL}, {IPPROTO_IP, IP_MULTICAST_LOOP}, {IPPROTO_IP, 4711}, {4711, 1}};

	for (i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++) {
		n = sizeof(v);
		v = 0;
		printf("option %d/%d: ", names[i][0], names[i][1]);
		printf("%ld", C(getsockopt, s, names[i][0], names[i][1], &v, &n));
		printf(" length %u value %d\n", n, v);
	}
	n = 2;
	SHOW("getsockopt/short", C(getsockopt, s, SOL_SOCKET, SO_RCVBUF, &v, &n));
	SHOW("  length", n);
	n = (socklen_t)-1;
	SHOW("getsockopt/negative", C(getsockopt, s, SOL_SOCKET, SO_RCVBUF, &v, &n));
	v = 9;
	SHOW("setsockopt/IP_TTL", C(setsockopt, s, IPPROTO_IP, IP_TTL, &v, sizeof(v)));
	SHOW("setsockopt/short", C(setsockopt, s, SOL_SOCKET, SO_RCVBUF, &v, 2));
	SHOW("setsockopt/NULL", C(setsockopt, s, SOL_SOCKET, SO_RCVBUF, NULL, 4));
	SHOW("setsockopt/SO_ATTACH_FILTER", C(setsockopt, s, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
	prog.len = 0;
	SHOW("setsockopt/no filter", C(setsockopt, s, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
	SHOW("sendto", C(sendto, s, "dropped", 7, 0, SA(&echo), sizeof(echo)));
	SHOW("sendto", C(sendto, other, "after that", 10, 0, SA(&echo), sizeof(echo)));
	SHOW("recv", C(recv, other, b, sizeof(b), 0)); /* so what came before has been dropped */
	SHOW("setsockopt/SO_DETACH_FILTER", C(setsockopt, s, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof(v)));
	SHOW("ioctl/FIONREAD", C(ioctl, s, FIONREAD, &v));
	SHOW("  value", v);
	SHOW("ioctl/unknown", C(ioctl, s, 0x4711, &v));
	memset(&r, 0, sizeof(r));
	strcpy(r.ifr_name, "near0");
	SHOW("ioctl/SIOCGIFADDR", C(ioctl, s, SIOCGIFADDR, &r));
	show_name("  address", (struct sockaddr_in *)&r.ifr_addr, 16);
	SHOW("ioctl/SIOCGIFINDEX", C(ioctl, s, SIOCGIFINDEX, &r));
	SHOW("  index", r.ifr_ifindex);
	conf.ifc_len = sizeof(b);
	conf.ifc_buf = b;
	SHOW("ioctl/SIOCGIFCONF", C(ioctl, s, SIOCGIFCONF, &conf));
	SHOW("  length", conf.ifc_len);
	v = 1;
	SHOW("ioctl/FIONBIO", C(ioctl, s, FIONBIO, &v));
	SHOW("recv/FIONBIO", C(recv, s, b, sizeof(b), 0));
	C(close, s);
	C(close, other);
}

static void timeouts(void)
{
	int s = udp(7008, 0);
	struct timeval limit = {.tv_usec = 20000};
	char b[8];

	SHOW("setsockopt/SO_RCVTIMEO", C(setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	SHOW("recv/SO_RCVTIMEO", C(recv, s, b, sizeof(b), 0));
	C(close, s);
}

static void ping(void)
{
	struct icmphdr h = {.type = ICMP_ECHO, .un.echo.sequence = htons(5)};
	char b[64];
	struct timeval limit = {.tv_sec = 20};
	long s = C(socket, AF_INET, SOCK_DGRAM, IPPROTO_ICMP);

	C(setsockopt, s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	SHOW("ping/sendto", C(sendto, s, &h, sizeof(h), 0, SA(&echo), sizeof(echo)));
	SHOW("ping/recv", C(recv, s, b, sizeof(b), 0));
	SHOW("  type", b[0]);
	C(close, s);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	start(argv[1], NULL, OB_SPIN_DEFAULT);
	own = at(argv[2], 0);
	echo = at(argv[3], 7);
	nobody = at(argv[3], 9);
	sockets();
	names();
	transfer();
	messages();
	many();
	errors();
	options();
	timeouts();
	ping();
	return 0;
}
