"""An echo server: UDP by asyncio, with TCP in the same loop."""
import asyncio
import sys


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data.upper(), addr)


async def serve(host):
    loop = asyncio.get_running_loop()

    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    await asyncio.start_server(echo, host, 7002)
    await loop.create_datagram_endpoint(Echo, local_addr=(host, 7001))
    await asyncio.sleep(60)


asyncio.run(serve(sys.argv[1]))
