/* seed_sender.c IP PORT - EVL's manual, "The EVL network stack": how a program sends by an
 * out-of-band datagram socket, as it stands there. */
#include <evl/thread.h>
#include <evl/net/net.h>
#include <error.h>
#include <stdio.h>
#include <sys/socket.h>
#include <arpa/inet.h>

static char output_datagram[] = "Mellow sword!";

int main(int argc, char **argv)
{
	const char *ip_address_as_string = argv[1];
	int udp_port_number, s;

	if (argc != 3)
		return 2;
	udp_port_number = atoi(argv[2]);
	if (evl_attach_self("seed-sender:%d", getpid()) < 0)
		error(1, 0, "evl_attach_self()");

	/* Get a datagram socket in the IPv4 domain with out-of-band capabilities. */
	s = socket(AF_INET, SOCK_DGRAM | SOCK_OOB, 0);
	if (s < 0)
		error(1, errno, "socket()");

	struct sockaddr_in addr;
	memset(&addr, 0, sizeof(addr));
	addr.sin_family = AF_INET;
	addr.sin_port = htons(udp_port_number);
	if (!inet_pton(AF_INET, ip_address_as_string, &addr.sin_addr))
		error(1, EINVAL, "invalid IPv4 address");
	int ret = evl_net_solicit(s, (const struct sockaddr *)&addr, EVL_NEIGH_PERMANENT);
	if (ret)
		error(1, -ret, "evl_net_solicit()");
	if (connect(s, (struct sockaddr *)&addr, sizeof(addr)))
		error(1, errno, "connect()");
	{
		struct oob_msghdr msghdr;
		struct iovec iov;
		ssize_t count;
		/* OUTPUT */
		iov.iov_base = output_datagram;
		iov.iov_len = sizeof(output_datagram);
		msghdr.msg_iov = &iov;
		msghdr.msg_iovlen = 1;
		msghdr.msg_control = NULL;
		msghdr.msg_controllen = 0;
		msghdr.msg_name = NULL; /* Optional, use bound device if NULL. */
		msghdr.msg_namelen = 0;
		msghdr.msg_flags = 0;
		count = oob_sendmsg(s, &msghdr, NULL, 0);
		if (count < 0)
			error(1, errno, "oob_sendmsg() failed");
	}
	return close(s);
}
