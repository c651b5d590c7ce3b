"""A client that waits in each of Python's ways, and prints what it gets."""
import asyncio
import select
import selectors
import socket
import sys
import time

host = sys.argv[1]
to = (host, 7001)


def blocking():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(20):
        s.sendto(b"blocking %d" % i, to)
        data, addr = s.recvfrom(100)
        print(data, addr == to)
    s.connect(to)
    s.send(b"connected")
    print(s.recv(100), s.getpeername() == to)
    s.sendmsg([b"a", b"b"])
    print(s.recvmsg(100, 100)[0])
    s.close()


def timeouts():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 0))
    s.settimeout(0.05)
    began = time.monotonic()
    try:
        s.recv(1)
    except socket.timeout:
        print("time is over", 0.05 <= time.monotonic() - began < 5)
    s.settimeout(5)
    s.sendto(b"in time", to)
    print(s.recv(100))
    s.setblocking(False)
    try:
        s.recv(1)
    except BlockingIOError as e:
        print(e)
    s.close()


def selecting():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    print(select.select([s], [], [], 0.01)[0])
    s.sendto(b"select", to)
    print(select.select([s], [], [], 5)[0] == [s], s.recv(100))
    for make in selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector:
        with make() as sel:
            sel.register(s, selectors.EVENT_READ)
            s.sendto(make.__name__.encode(), to)
            print(len(sel.select(5)), s.recv(100))
    s.close()


def refused():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((host, 7999))
    s.settimeout(5)
    s.send(b"nobody")
    try:
        s.recv(1)
    except ConnectionRefusedError as e:
        print(e)


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.got.put_nowait(data)


async def both():
    loop = asyncio.get_running_loop()
    transport, udp = await loop.create_datagram_endpoint(Client, remote_addr=to)
    reader, writer = await asyncio.open_connection(host, 7002)
    for i in range(20):
        transport.sendto(b"udp %d" % i)
        writer.write(b"tcp %d" % i)
        print(await asyncio.wait_for(udp.got.get(), 5), await asyncio.wait_for(reader.read(100), 5))
    transport.close()
    writer.close()


blocking()
timeouts()
selecting()
refused()
asyncio.run(both())
