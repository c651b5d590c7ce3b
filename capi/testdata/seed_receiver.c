/* seed_receiver.c IP PORT - EVL's manual, "The EVL network stack": how a program receives by an
 * out-of-band datagram socket, as it stands there. */
#include <evl/thread.h>
#include <evl/net/net.h>
#include <error.h>
#include <stdio.h>
#include <sys/socket.h>
#include <arpa/inet.h>

static char input_datagram[2048];

int main(int argc, char **argv)
{
	const char *ip_address_as_string = argv[1];
	int udp_port_number, s;

	if (argc != 3)
		return 2;
	udp_port_number = atoi(argv[2]);
	if (evl_attach_self("seed-receiver:%d", getpid()) < 0)
		error(1, 0, "evl_attach_self()");

	/* Get a datagram socket in the IPv4 domain with out-of-band capabilities. */
	s = socket(AF_INET, SOCK_DGRAM | SOCK_OOB, 0);
	if (s < 0)
		error(1, errno, "socket()");
	{
		struct sockaddr_in addr;
		memset(&addr, 0, sizeof(addr));
		addr.sin_family = AF_INET;
		addr.sin_port = htons(udp_port_number);
		if (!inet_pton(AF_INET, ip_address_as_string, &addr.sin_addr))
			error(1, EINVAL, "invalid IPv4 address");
		if (bind(s, (struct sockaddr *)&addr, sizeof(addr)))
			error(1, errno, "bind()");
	}
	puts("bound");
	fflush(stdout);
	{
		struct oob_msghdr msghdr;
		struct sockaddr_in addr;
		struct iovec iov;
		ssize_t count;
		/* INPUT */
		iov.iov_base = input_datagram;
		iov.iov_len = sizeof(input_datagram);
		msghdr.msg_iov = &iov;
		msghdr.msg_iovlen = 1;
		msghdr.msg_control = NULL;
		msghdr.msg_controllen = 0;
		msghdr.msg_name = &addr; /* or NULL, optional */
		msghdr.msg_namelen = sizeof(addr); /* or zero, optional */
		msghdr.msg_flags = 0;
		count = oob_recvmsg(s, &msghdr, NULL, 0);
		if (count < 0)
			error(1, errno, "oob_recvmsg() failed");
		printf("%zd bytes from %s: %.*s\n", count, inet_ntoa(addr.sin_addr), (int)count, input_datagram);
	}
	return close(s);
}
