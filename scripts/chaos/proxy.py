"""The network between the clients and the server, which can be cut, slow, or swallow everything.

A process of its own. It prints the port on which it listens, then takes orders,
a line of JSON each, and answers each with how many connections it was about:

    {"do": "cut", "share": "one" | "half" | "all", "how": "rst" | "fin"}
    {"do": "hole", "share": ...}     they stay open, and nothing is forwarded; "all": new ones too
    {"do": "delay", "share": ..., "seconds": 0.1}    each way
    {"do": "heal"}                   what was swallowed goes on its way
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

PIECE_BYTES = 64 * 1024
# Towards the server, so that it notices soon when nothing is taken any more.
RECEIVE_BYTES = 32 * 1024
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class _Link:
    """One client's connection, and the one to the server behind it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.ends = [client]
        self.flows = asyncio.Event()
        self.flows.set()
        self.delay_s = 0.0

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self.flows.wait()
                writer.write(data)
                await writer.drain()
            await self.flows.wait()  # that it was closed is not heard through a hole either

    def cut(self, how: str) -> None:
        for end in self.ends:
            if how == "rst":
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            end.transport.abort()


class _Network:
    def __init__(self, server_port: int, dice: random.Random) -> None:
        self._server_port = server_port
        self._dice = dice
        self._links: list[_Link] = []
        self._swallows = False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.append(link)
        if self._swallows:
            link.flows.clear()
        try:
            await link.flows.wait()
            upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            upstream.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", self._server_port))
            except OSError:
                upstream.close()
                return
            from_server, to_server = await asyncio.open_connection(sock=upstream)
            link.ends.append(to_server)
            pumps = [
                asyncio.ensure_future(link.pump(reader, to_server)),
                asyncio.ensure_future(link.pump(from_server, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
        finally:
            self._links.remove(link)
            for end in link.ends:
                end.close()

    def _some(self, share: str) -> list[_Link]:
        count = {"one": 1, "half": math.ceil(len(self._links) / 2), "all": len(self._links)}[share]
        return self._dice.sample(self._links, min(count, len(self._links)))

    def obey(self, order: dict[str, Any]) -> int:
        """Carry out an order; how many connections it was about."""
        if order["do"] == "heal":
            self._swallows = False
            for link in self._links:
                link.delay_s = 0.0
                link.flows.set()
            return len(self._links)
        links = self._some(order["share"])
        for link in links:
            if order["do"] == "cut":
                link.cut(order["how"])
            elif order["do"] == "hole":
                link.flows.clear()
            else:
                link.delay_s = order["seconds"]
        if order["do"] == "hole" and order["share"] == "all":
            self._swallows = True
        return len(links)


def serve(server_port: int, seed: int) -> None:
    """The process: until its standard input ends."""
    asyncio.run(_serve(server_port, random.Random(seed)))


async def _serve(server_port: int, dice: random.Random) -> None:
    network = _Network(server_port, dice)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await orders.readline():
        print(network.obey(json.loads(line)), flush=True)


class Proxy:
    """The process, as the campaign sees it."""

    def __init__(self, program: list[str], server_port: int, seed: int, log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*program, "proxy", json.dumps([server_port, seed])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.url = f"http://127.0.0.1:{self._answer()}"

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def order(self, do: str, **more: Any) -> int:
        """How many connections it was about."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
