"""Clients beside the watchers: some that never read, one that pings, and a crowd that comes back."""

from __future__ import annotations

import json
import select
import sys
import time

from bench.client import PONG, Json, frame, handshake, new_socket, now_us, opened, opened_together, received
from bench.room import percentiles

STALLED_BYTES = 4_096  # of the kernel's receive buffer: little is taken in the client's name
PAUSE_S = 0.002  # between a pong and the next ping


def stall(url: str, join: Json, clients: int) -> None:
    """Join, and never read again, until the input ends."""
    connections = [new_socket(url, STALLED_BYTES) for _ in range(clients)]
    for connection in connections:
        opened(connection, handshake(url, join))
    print("ready", flush=True)
    sys.stdin.read()


def ping(url: str) -> None:
    """One client that pings all the time; for each line how long its pings took since the line before."""
    connection = new_socket(url)
    _, frames, _ = opened(connection, handshake(url))
    call = frame('42["ping"]')
    print("ready", flush=True)
    took_us: list[int] = []
    while True:
        sent_us = now_us()
        connection.sendall(call)
        pong = False
        while not pong:
            packets = frames.feed(received(connection))
            pong = b'42["pong"]' in packets
            if b"2" in packets:
                connection.sendall(PONG)
        took_us.append(now_us() - sent_us)
        if select.select([sys.stdin], [], [], PAUSE_S)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(percentiles(took_us)), flush=True)
            took_us.clear()


def crowd(url: str, join: Json, clients: int) -> None:
    """Clients that join at the same time; for each line, the payload of `join_session`, once more."""
    while True:
        connections = [new_socket(url) for _ in range(clients)]
        began = time.monotonic()
        joined = opened_together(connections, [handshake(url, join) for _ in connections])
        answer = {
            "took_s": round(time.monotonic() - began, 3),
            "resume": sorted({each["resume"] for each in joined}),
            "versions": sorted({each["version"] for each in joined}),
        }
        print(json.dumps(answer), flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        join = json.loads(line)
        for connection in connections:
            connection.close()
