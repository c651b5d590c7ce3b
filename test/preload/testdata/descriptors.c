/* Copies of descriptors, closing many, limits. */
#include "say.h"

static struct sockaddr_in a, b;
static char buf[8];

static void copies(int x, int y)
{
	int z = dup(y), w;

	T(sendto(x, "1", 1, 0, sa(&b), sizeof b));
	T(recv(z, buf, sizeof buf, 0));
	T(close(y));
	T(sendto(x, "2", 1, 0, sa(&b), sizeof b));
	T(recv(z, buf, sizeof buf, 0));
	T(recv(y, buf, sizeof buf, 0));
	T(dup2(z, 40));
	T(fcntl(40, F_GETFD));
	T(dup3(z, 41, O_CLOEXEC));
	T(fcntl(41, F_GETFD));
	T(dup3(z, z, 0));
	T(dup2(z, z) == z);
	w = fcntl(z, F_DUPFD_CLOEXEC, 50);
	T(w);
	T(fcntl(w, F_GETFD));
	T(fcntl(w, F_SETFL, O_NONBLOCK));
	T(fcntl(40, F_GETFL) & O_NONBLOCK);
	T(recv(40, buf, sizeof buf, 0));
	T(close(z));
	T(close(w));
	T(sendto(x, "3", 1, 0, sa(&b), sizeof b));
	T(recv(40, buf, sizeof buf, 0));
	T(dup2(0, 40));
	T(recv(40, buf, sizeof buf, 0));
	T(sendto(x, "4", 1, 0, sa(&b), sizeof b));
	T(recv(41, buf, sizeof buf, 0));
	T(dup2(x, 99999999));
	T(dup2(-1, 41));
	T(sendto(x, "5", 1, 0, sa(&b), sizeof b));
	T(recv(41, buf, sizeof buf, 0));
}

static void limits(void)
{
	struct rlimit r, s;

	T(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = 100;
	T(setrlimit(RLIMIT_NOFILE, &r));
	T(getrlimit(RLIMIT_NOFILE, &s));
	printf("%d\n", (int)s.rlim_cur);
	T(prlimit(0, RLIMIT_NOFILE, NULL, &s));
	printf("%d\n", (int)s.rlim_cur);
	r.rlim_cur = r.rlim_max + 1;
	T(setrlimit(RLIMIT_NOFILE, &r));
}

int main(void)
{
	struct sockaddr_in c;
	int x = bound(&a), y = bound(&b), z;

	copies(x, y);
	limits();
	T(close_range(3, 4, 0));
	T(close_range(9, 8, 0));
	T(close_range(3, ~0u, 0));
	T(send(x, "?", 1, 0));
	/* As daemons do it. */
	for (int fd = 3; fd < 20000; fd++)
		close(fd);
	z = bound(&c);
	T(z);
	T(sendto(z, "self", 4, 0, sa(&c), sizeof c));
	T(recv(z, buf, sizeof buf, 0));
	return 0;
}
