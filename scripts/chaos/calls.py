"""Calls that change something, from the wish to its outcome, each written down once."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import requests

from chaos.history import Book, Ended, Invoked, JsonObject
from tests.support.clients import Ack

CALL_S = 8.0  # for an answer; a locked database takes 5 s to say BUSY
EVENTS = {"execute": "execute_command", "undo": "undo_command", "redo": "redo_command"}
UNKNOWN = "STORAGE_UNCERTAIN"  # the one error that says nothing about the outcome


class Wish(NamedTuple):
    """What is to happen; it stays the same however often it is sent.

    body: `command_type` and `data`, or `scope`; `expected_version` in some.
    """

    kind: Literal["execute", "undo", "redo"]
    command_id: str
    body: JsonObject


class Call(Ack):
    """One sending of a wish. It ends once: with its answer, or as unknown."""

    def __init__(self, name: str, session_id: str, wish: Wish, caller: Caller) -> None:
        super().__init__(EVENTS[wish.kind])
        self.name, self.session_id, self.wish = name, session_id, wish
        self.outcome: Literal["ok", "failed", "unknown"] | None = None
        self.code = ""  # of the error
        self.began_s = time.monotonic()
        self._caller = caller

    @property
    def payload(self) -> JsonObject:
        return {"session_id": self.session_id, "command_id": self.wish.command_id, **self.wish.body}

    def _set(self, args: tuple[Any, ...]) -> None:
        super()._set(args)
        self.answered(args[0])

    def answered(self, answer: JsonObject) -> None:
        """The answer of a call, over the socket or over REST."""
        error = answer.get("error")
        if error is None:
            self.end("ok", answer)
        else:
            self.code = error["code"]
            self.end("unknown" if self.code == UNKNOWN else "failed", error)

    def end(self, outcome: Literal["ok", "failed", "unknown"], answer: JsonObject | None = None) -> None:
        """Its outcome; one that comes after another is too late and says nothing."""
        with self._caller.news:
            if self.outcome is None:
                # Written first: what is seen to have ended stands in the book.
                self._caller.ended(self, outcome, answer or {})
                self.outcome = outcome
                self._caller.news.notify_all()


class Caller:
    """Who calls, in one session, and the book in which it stands.

    url: says where the server is, for calls over REST.
    """

    def __init__(self, book: Book, client: str, session_id: str, url: Callable[[], str]) -> None:
        self.book, self.client, self.session_id = book, client, session_id
        self.news = threading.Condition()  # a call has ended, or the connection has
        self._url = url
        self._numbers = itertools.count(1)
        self._http = requests.Session()
        self._http.trust_env = False

    def invoke(self, wish: Wish, connection: int | None = None) -> Call:
        """A call that is about to be sent, over that connection; None: over REST."""
        call = Call(f"{self.client}/{next(self._numbers)}", self.session_id, wish, self)
        self.book.write(
            Invoked(
                at_s=call.began_s,
                client=self.client,
                call=call.name,
                session_id=self.session_id,
                kind=wish.kind,
                command_id=wish.command_id,
                body=wish.body,
                connection=connection,
            )
        )
        return call

    def ended(self, call: Call, outcome: Literal["ok", "failed", "unknown"], answer: JsonObject) -> None:
        self.book.write(
            Ended(at_s=time.monotonic(), client=self.client, call=call.name, outcome=outcome, answer=answer)
        )

    def call_rest(self, wish: Wish, timeout_s: float = CALL_S) -> Call:
        """Send a wish over REST and wait for its outcome."""
        call = self.invoke(wish)
        body = call.payload
        path = "/commands/execute"
        if wish.kind != "execute":
            path = f"/sessions/{body.pop('session_id')}/{wish.kind}"
        try:
            response = self._http.post(
                f"{self._url()}/api/v1{path}",
                json=body,
                headers={"Talus-Actor": self.client},
                timeout=timeout_s,
            )
            answer = response.json()
        except requests.RequestException:  # a body that was cut off is no JSON, and one of these as well
            call.end("unknown")
        else:
            call.answered(answer)
        return call

    def get(self, path: str, timeout_s: float, **params: Any) -> JsonObject:
        """The answer of a GET. Raises requests.RequestException, a refusal included."""
        response = self._http.get(f"{self._url()}/api/v1{path}", params=params, timeout=timeout_s)
        response.raise_for_status()
        answer: JsonObject = response.json()
        return answer
