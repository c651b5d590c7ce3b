/* Every call that transfers, names or configures, once and with what is wrong. */
#include "say.h"

static struct sockaddr_in a, b, from;
static socklen_t len;
static char buf[64];

static void names(int x)
{
	struct sockaddr_in none = at("127.0.0.1", 0), v6 = none;

	v6.sin_family = AF_INET6;
	T(bind(x, sa(&none), sizeof none));
	T(bind(x, sa(&none), 3));
	T(bind(-1, sa(&none), sizeof none));
	len = sizeof from;
	T(getpeername(x, sa(&from), &len));
	len = sizeof from;
	T(getsockname(x, sa(&from), &len));
	printf("family %d, length %u, same %d\n", from.sin_family, len, from.sin_port == a.sin_port);
	T(connect(x, sa(&v6), sizeof v6));
}

static void transfers(int x, int y)
{
	struct iovec iov[2] = {{buf, 3}, {buf + 3, 61}};
	struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = iov, .msg_iovlen = 2};
	struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = iov, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = iov + 1, .msg_iovlen = 1}}};

	T(sendto(x, "first", 5, 0, sa(&b), sizeof b));
	T(recv(y, buf, sizeof buf, MSG_PEEK));
	T(recv(y, buf, 2, MSG_TRUNC));
	T(recv(y, buf, sizeof buf, MSG_DONTWAIT));
	T(send(x, "?", 1, 0));
	T(connect(x, sa(&b), sizeof b));
	T(connect(y, sa(&a), sizeof a));
	T(send(x, "second", 6, 0));
	len = sizeof from;
	T(recvfrom(y, buf, sizeof buf, 0, sa(&from), &len));
	printf("from the right one: %d, %u\n", from.sin_port == a.sin_port, len);
	T(write(x, "third", 5));
	T(read(y, buf, 0));
	T(read(y, buf, sizeof buf));
	T(writev(x, (struct iovec[]){{"fou", 3}, {"rth", 3}}, 2));
	T(readv(y, iov, 2));
	printf("%.6s\n", buf);
	T(write(x, "", 0));
	T(recvmsg(y, &m, 0));
	T(sendmsg(x, &(struct msghdr){.msg_iov = &(struct iovec){"sixth", 5}, .msg_iovlen = 1}, 0));
	T(recvmsg(y, &m, MSG_DONTWAIT));
	printf("flags %d, from %d\n", m.msg_flags, from.sin_port == a.sin_port);
	T(sendmmsg(x, many, 2, 0));
	T(sendmmsg(x, NULL, 0, 0));
	T(syscall(SYS_sendmmsg, x, NULL, 0, 0));
	T(sendmmsg(x, NULL, 1, 0));
	printf("%u %u\n", many[0].msg_len, many[1].msg_len);
	T(recvmmsg(y, many, 2, 0, NULL));
	printf("%u %u\n", many[0].msg_len, many[1].msg_len);
	T(send(x, "one", 3, 0));
	T(recvmmsg(y, many, 2, MSG_WAITFORONE, NULL));
	T(recvmmsg(y, many, 2, MSG_DONTWAIT, NULL));
	T(syscall(SYS_sendto, (long)x, "direct", 6L, 0L, NULL, 0L));
	T(syscall(SYS_recvfrom, (long)y, buf, (long)sizeof buf, 0L, NULL, NULL));
	T(sendto(x, buf, 70000, 0, NULL, 0));
}

static void options(int x, int y)
{
	int on = 1, n = 0;
	struct timeval t = {0, 20000};
	double began;

	len = sizeof n;
	T(getsockopt(x, SOL_SOCKET, SO_TYPE, &n, &len));
	printf("%d\n", n);
	T(setsockopt(x, SOL_SOCKET, SO_BROADCAST, &on, sizeof on));
	T(getsockopt(x, SOL_SOCKET, SO_BROADCAST, &n, &len));
	printf("%d\n", n);
	T(setsockopt(x, SOL_SOCKET, 9999, &on, sizeof on));
	T(setsockopt(x, SOL_SOCKET, SO_BROADCAST, &on, 1));
	T(setsockopt(y, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
	began = seconds();
	T(recv(y, buf, sizeof buf, 0));
	printf("in time: %d\n", seconds() - began > 0.019 && seconds() - began < 2);
	t.tv_usec = 0;
	T(setsockopt(y, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
	T(send(x, "12345", 5, 0));
	T(ioctl(y, FIONREAD, &n));
	printf("%d\n", n);
	n = 1;
	T(ioctl(y, FIONBIO, &n));
	T(fcntl(y, F_GETFL) & O_NONBLOCK);
	T(recv(y, buf, sizeof buf, 0));
	T(recv(y, buf, sizeof buf, 0));
	T(fcntl(y, F_SETFL, 0));
	T(fcntl(y, F_GETFL) & O_NONBLOCK);
}

static void errors(int x)
{
	struct sockaddr_in dead;
	int gone = bound(&dead), e = 0;

	T(close(gone));
	T(connect(x, sa(&dead), sizeof dead));
	T(send(x, "refused", 7, 0));
	usleep(20000);
	T(send(x, "refused", 7, 0));
	len = sizeof e;
	T(getsockopt(x, SOL_SOCKET, SO_ERROR, &e, &len));
	printf("%s\n", strerrorname_np(e));
	T(connect(x, sa(&(struct sockaddr_in){.sin_family = AF_UNSPEC}), sizeof dead));
	T(send(x, "?", 1, 0));
	T(shutdown(x, SHUT_RDWR));
	T(shutdown(x, 7));
	T(recv(x, buf, sizeof buf, MSG_OOB));
	T(listen(x, 1));
	T(accept(x, NULL, NULL));
}

int main(void)
{
	int x = bound(&a), y = bound(&b);
	struct stat st;

	names(x);
	transfers(x, y);
	options(x, y);
	errors(x);
	T(fstat(y, &st));
	printf("socket: %d\n", S_ISSOCK(st.st_mode));
	T(close(y));
	T(recv(y, buf, sizeof buf, 0));
	T(socket(AF_INET, SOCK_DGRAM, 255));
	T(socket(AF_INET, 77, 0));
	return 0;
}
