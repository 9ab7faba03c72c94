"""What a campaign writes down, and the checker reads: one line of JSON for each thing that happened.

Every process of a campaign writes a file of its own, in the order in which it
saw things. `at_s` is CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

JsonObject = dict[str, Any]


class Record(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="record"):
    at_s: float
    client: str  # who writes: a client's name, or "nemesis", or "campaign"


class Invoked(Record, tag="invoked"):
    """A call is about to be sent. A repeat with the same command_id is another call."""

    call: str  # unique in the campaign
    session_id: str
    kind: Literal["execute", "undo", "redo"]
    command_id: str  # of this call, for once-only
    body: JsonObject  # what was sent: command_type and data, or scope
    # The socket that it goes over; None: over REST, or not told. Where it is told, the answer has to come
    # after the facts of its commit on that connection.
    connection: int | None = None


class Ended(Record, tag="ended"):
    """A call has its outcome. unknown: no answer came, the connection went, or STORAGE_UNCERTAIN.

    answer: of the contract's section 4: the result, or {"code": ..., "message": ...}.
    """

    call: str
    outcome: Literal["ok", "failed", "unknown"]
    answer: JsonObject = {}


class Joined(Record, tag="joined"):
    """A client is in a session, on a connection: what it asked `since`, and the payload of `joined`."""

    connection: int  # counts up for each client
    session_id: str
    since: int | None
    payload: JsonObject


class Heard(Record, tag="heard"):
    """An event came, facts and notices alike, in the order of the connection."""

    connection: int
    event: str
    payload: JsonObject


class Fetched(Record, tag="fetched"):
    """The answer of GET /graph, asked at `asked_s`: live, or of a past version where one was asked for."""

    asked_s: float
    session_id: str
    payload: JsonObject
    version: int | None = None


class Fault(Record, tag="fault"):
    """What the nemesis did, from `at_s` until `until_s`, by when it was cured."""

    kind: str
    until_s: float
    detail: JsonObject = {}


class Probed(Record, tag="probed"):
    """After a cure: a client asked at `asked_s` and had its answer at `at_s`, or none."""

    asked_s: float
    answered: bool
    cured_s: float  # when the fault was over


class Holds(Record, tag="holds"):
    """The tree that a client kept by applying events, at the end: as GET /graph would show it."""

    session_id: str
    version: int
    epoch: str
    roots: list[JsonObject]


class Ends(Record, tag="ends"):
    """What the server's file says of a session in the end.

    journal: each commit in order of version, as {"version", "command_id", "command_type", "target",
    "actor", "events": [facts as GET /events gives them, closing event last]}.
    graph: GET /graph. rows: the tree rows read from the file, in the same shape as graph["roots"].
    """

    session_id: str
    epoch: str
    version: int
    journal: list[JsonObject]
    graph: list[JsonObject]
    rows: list[JsonObject]


AnyRecord = Invoked | Ended | Joined | Heard | Fetched | Fault | Probed | Holds | Ends
_decode = msgspec.json.Decoder(AnyRecord).decode
_encode = msgspec.json.Encoder().encode


class Book:
    """A process's file of records. Each line is handed to the kernel at once: a kill loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, record: Record) -> None:
        self._file.write(_encode(record) + b"\n")

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> Iterator[AnyRecord]:
    """All records of a campaign's folder, file after file (`*.jsonl`), each in its own order.

    The last line of a writer that was killed may be half a line: it is left out.
    """
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield _decode(line)
