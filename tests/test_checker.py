"""The checker of campaigns says nothing of a story in which all is well, and finds what is spoilt in one."""

from __future__ import annotations

import copy
import functools
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from chaos import checker, history
from chaos.findings import ANSWER_S, KEPT, RULES
from chaos.history import Ended, Fetched, Heard, Holds, Joined, Probed
from chaos.prints import print_of, print_of_roots

from tests.support.spoilt import (
    SPOILT,
    Spoil,
    a_client_s_tree_is_missing,
    a_fact_is_dropped,
    a_read_of_yesterday,
    an_acknowledged_command_is_not_there,
    calls,
    heard_commits,
    insert_after,
    one,
    place,
    refused_before,
    remove,
    say_failed,
    single,
)
from tests.support.stories import Story, tell
from tests.support.tree import CLOSING_EVENTS, FACTS

Json = dict[str, Any]

SEED = 0  # of the stories that are spoilt


@functools.cache
def good(seed: int) -> Story:
    return tell(seed)


@pytest.mark.parametrize("seed", range(12))
def test_a_story_in_which_all_is_well_has_no_violation(seed: int) -> None:
    """Given clients that command, lose their connections, rejoin and read, when all is well, then nothing is
    said, and the figures show that there was something to judge."""
    violations, counts, figures = checker.check(good(seed).records())
    assert violations == [], seed
    assert counts == {}
    assert figures["sessions"] == 2
    assert figures["facts heard"]["live"] > 500
    assert figures["facts heard"]["replayed"] > 5
    assert figures["joins"].keys() == {"live", "current", "replay", "snapshot"}
    assert figures["calls"].keys() == {"ok", "failed", "unknown"}
    assert {"Undo", "Redo", "Batch", "CreateNode"} <= figures["commits"].keys()
    assert figures["faults"] == {"kill": 2, "cut": 2, "disk-full": 2}
    assert figures["probes"] == 24
    assert 0 < figures["worst answer after a cure, s"] < ANSWER_S


@pytest.mark.parametrize("rule, spoil", SPOILT, ids=lambda each: getattr(each, "__name__", each))
def test_what_is_spoilt_is_found_by_its_rule(rule: str, spoil: Spoil) -> None:
    """Given a good story, when one thing in it is spoilt, then the rule says so that it breaks."""
    story = good(SEED).copy()
    spoil(story)
    violations, counts, _ = checker.check(story.records())
    assert counts.get(rule, 0) > 0, (SEED, violations)
    assert any(each.startswith(f"{rule}: ") for each in violations)


def test_each_rule_finds_something() -> None:
    """Given the rules, when a story is spoilt in all these ways, then none is left that nothing breaks."""
    assert {rule for rule, _ in SPOILT} == RULES.keys()


def test_the_order_of_the_books_does_not_matter() -> None:
    """Given the journal in the first book or the last, when the books are read, then the same is found."""
    spoilt = good(SEED).copy()
    a_fact_is_dropped(spoilt)
    a_read_of_yesterday(spoilt)
    an_acknowledged_command_is_not_there(spoilt)
    found = []
    for names in (sorted(spoilt.books), sorted(spoilt.books, reverse=True)):
        books = [spoilt.books[name] for name in names]
        found.append(checker.check(itertools.chain.from_iterable(books)).counts)
    assert found[0] == found[1]
    assert {"missing", "stale", "lost"} <= found[0].keys()


def test_the_books_are_read_from_a_folder(tmp_path: Path) -> None:
    """Given books on disk, one with half a line at its end, when they are read, then all is well."""
    story = good(SEED)
    for name, records in story.books.items():
        book = history.Book(tmp_path / f"{name}.jsonl")
        for record in records:
            book.write(record)
        book.close()
    with (tmp_path / "ann.jsonl").open("ab") as half:
        half.write(b'{"record":"heard","at_s":1')
    assert checker.check(history.read(tmp_path)).violations == []


def test_whoever_is_expected_has_to_be_there() -> None:
    """Given a story, when a client is expected that never came, then it is missed, and the others are not."""
    everybody = ["ann", "ben", "carol"]
    assert checker.check(good(SEED).records(), clients=everybody).violations == []
    violations = checker.check(good(SEED).records(), clients=[*everybody, "fred"]).violations
    assert violations == ["silent: fred is in no session"]
    story = good(SEED).copy()
    a_client_s_tree_is_missing(story)
    assert checker.check(story.records(), clients=["ann"]).violations == []


def test_of_many_violations_some_are_told_and_all_are_counted() -> None:
    """Given more violations of one rule than are told, when they are, then a line says how many more."""
    story = good(SEED).copy()
    spoilt = [each for each in story.of(Heard) if each.event in FACTS][:400]
    for heard in spoilt:
        heard.payload["timestamp"] = "2026-01-28T15:30:00Z"
    violations, counts, _ = checker.check(story.records())
    told = [each for each in violations if each.startswith("content: ")]
    assert counts["content"] > KEPT
    assert len(told) == KEPT + 1
    assert told[-1] == f"content: and {counts['content'] - KEPT} more"


def test_an_uncertain_commit_may_be_there_and_may_have_been_announced_as_failed() -> None:
    """Given a command whose outcome the disk did not confirm, when it is found committed, then it is well."""
    story = good(SEED).copy()
    invoked, ended = single(story)
    uncertain = {"code": "STORAGE_UNCERTAIN", "message": "The disk did not confirm the write"}
    ended.outcome, ended.answer = "failed", uncertain
    say_failed(story, invoked, "command:executing", error=uncertain)
    assert checker.check(story.records()).violations == []


def test_a_command_may_be_refused_by_the_disk_and_committed_when_it_is_sent_again() -> None:
    """Given a command that the disk refused, as the room heard, when the next try succeeds, it is well."""
    story = good(SEED).copy()
    invoked, ended = single(story)
    say_failed(story, invoked, "command:executing")
    refused_before(story, invoked, ended)
    assert checker.check(story.records()).violations == []


def test_what_a_client_fetched_may_be_ahead_of_what_it_heard() -> None:
    """Given a client that rejoined and fetched the last graph, when the last facts are still on their way,
    then it is well that it holds what it fetched."""
    story = good(SEED).copy()
    book, (holds,) = story.books["ben"], story.of(Holds, "ben")
    joined = story.of(Joined, "ben")[-1]
    ends = story.ends("one")
    told = {**joined.payload, "resume": "live", "version": ends.version - 1}
    graph = {"session_id": "one", "version": ends.version, "epoch": ends.epoch, "roots": ends.graph}
    again = replace(joined, connection=99, since=None, payload=told, at_s=holds.at_s)
    book[place(book, holds) : place(book, holds)] = [
        again,
        Fetched(
            at_s=holds.at_s, client="ben", asked_s=holds.at_s, session_id="one", payload=graph, version=None
        ),
    ]
    assert checker.check(story.records()).violations == []


def test_a_commit_that_is_half_told_is_told_to_its_end_when_a_client_joins_again() -> None:
    """Given a client inside of a commit, when it joins again on its connection, then the rest of the commit
    comes, and after that what it asked for."""
    story = good(SEED).copy()
    book, commit = one(each for each in heard_commits(story) if "replayed" not in each[1][0].payload)
    fact = commit[0]
    session_id, version = fact.payload["session_id"], fact.payload["version"]
    before = one(
        each
        for each in story.of(Joined, fact.client)
        if each.session_id == session_id and each.at_s < fact.at_s
    )
    told = {**before.payload, "resume": "live", "version": version}
    again = replace(before, connection=fact.connection, since=None, payload=told, at_s=fact.at_s)
    insert_after(book, fact, again)
    assert checker.check(story.records()).violations == []


def test_a_commit_that_is_half_told_is_told_to_its_end_when_a_client_leaves() -> None:
    """Given a client inside of a commit, when it leaves, then the rest of the commit may come."""
    story = good(SEED).copy()
    book = story.books["eve"]
    left = one(each for each in book if isinstance(each, Heard) and each.event == "left")
    closing = one(each for each in reversed(book) if isinstance(each, Heard) and each.event in CLOSING_EVENTS)
    remove(book, left)
    book.insert(place(book, closing), left)
    assert checker.check(story.records()).violations == []


def answered_late(story: Story) -> Iterator[tuple[Story, Ended, Ended]]:
    """Calls of unknown outcome over a socket, and their repeats that were answered from the record."""
    ended_of = {each.call: each for each in story.of(Ended)}
    for invoked, ended, same in calls(story):
        again = ended_of[same[-1].call]
        if invoked.connection and ended.outcome == "unknown" and again.answer.get("duplicate"):
            yield story, ended, again


def test_an_acknowledgement_may_be_the_last_that_a_connection_hears() -> None:
    """Given a call that was acknowledged, when its connection is lost before its facts are heard, then it is
    well: nobody knows what was on its way before the answer."""
    stories = (good(seed).copy() for seed in range(12))
    story, ended, again = one(itertools.chain.from_iterable(map(answered_late, stories)))
    ended.outcome, ended.answer = "ok", {k: v for k, v in again.answer.items() if k != "duplicate"}
    assert checker.check(story.records()).violations == []


def test_an_acknowledgement_may_pass_a_replay() -> None:
    """Given a client that replays what it missed, when a repeat is answered from the record meanwhile, then
    the answer may come before the facts."""
    story = good(SEED).copy()
    joined = one(each for each in story.of(Joined, "ann") if each.payload["resume"] == "replay")
    invoked, ended = one(
        (invoked, ended)
        for invoked, ended, same in calls(story)
        if ended.outcome == "ok"
        and invoked.session_id == joined.session_id
        and joined.since < ended.answer["version"] <= joined.payload["version"]
    )
    again, answered = copy.deepcopy(invoked), copy.deepcopy(ended)
    for record in (again, answered):
        record.call, record.client, record.at_s = "again", "ann", joined.at_s
    again.connection = joined.connection
    answered.answer["duplicate"] = True
    insert_after(story.books["ann"], joined, again, answered)
    assert checker.check(story.records()).violations == []


def test_a_call_may_be_refused_while_the_same_is_on_its_way() -> None:
    """Given two calls with one id at once, when one is refused and then the other committed, it is well."""
    story = good(SEED).copy()
    invoked, ended = single(story)
    refused_before(story, invoked, ended, "INVALID_PARENT")
    ended.outcome, ended.answer = "unknown", {}
    assert checker.check(story.records()).violations == []


def test_a_read_may_show_what_was_known_when_it_was_begun() -> None:
    """Given a read that takes its time, when something is committed meanwhile, then it need not show that."""
    story = good(SEED).copy()
    one(each for each in story.of(Fetched) if each.version is None).at_s = story.ends("one").at_s
    assert checker.check(story.records()).violations == []


def test_only_who_was_there_before_a_cure_and_after_it_has_to_be_asked() -> None:
    """Given clients that come late or go early, when they are probed while they are there, it is well."""
    story = good(SEED).copy()
    first, *_, last = story.of(Probed, "dora")
    for name, probe in (("gone", first), ("new", last)):
        story.books[name] = [replace(probe, client=name)]
    assert checker.check(story.records()).violations == []


def test_one_wrong_fact_is_one_violation() -> None:
    """Given a connection that was lost inside of a commit, when a fact that it heard before is spoilt, then
    the commit that was cut off is no fault of anybody's."""
    story = good(SEED).copy()
    commit = one(
        commit
        for book, commit in heard_commits(story)
        if [
            each
            for each in book
            if isinstance(each, Heard)
            and each.event in FACTS
            and each.connection == commit[0].connection
            and each.payload["session_id"] == commit[0].payload["session_id"]
        ][-1].event
        not in CLOSING_EVENTS
    )
    commit[0].payload["timestamp"] = "2026-01-28T15:30:00Z"
    assert checker.check(story.records()).counts == {"content": 1}


def test_faults_that_overlap_are_cured_by_the_last_cure() -> None:
    """Given a fault within a fault, when everybody is probed after both, then it is well."""
    story = good(SEED).copy()
    fault = story.of(history.Fault)[0]
    middle_s = (fault.at_s + fault.until_s) / 2
    inner = history.Fault(at_s=middle_s, client="nemesis", kind="backup", until_s=middle_s + 0.001)
    insert_after(story.books["nemesis"], fault, inner)
    verdict = checker.check(story.records())
    assert verdict.violations == []
    assert verdict.figures["faults"]["backup"] == 1


@pytest.mark.parametrize(
    "one_value, other",
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 3.0}, {"a": 3}),
        ({"a": [1e21, -0.0]}, {"a": [10**21, 0]}),
        ([[1e20]], [[100000000000000000000]]),
    ],
)
def test_values_that_say_the_same_have_one_print(one_value: Any, other: Any) -> None:
    """Given two ways to write a value, when prints are made, then they are the same."""
    assert print_of(one_value) == print_of(other)


@pytest.mark.parametrize(
    "one_value, other",
    [({"a": 1}, {"a": True}), ({"a": 0}, {"a": False}), ({"a": None}, {}), ([1, 2], [2, 1]), ([0.5], [0])],
)
def test_values_that_say_something_else_have_another_print(one_value: Any, other: Any) -> None:
    """Given two values, when JSON tells them apart, then their prints do."""
    assert print_of(one_value) != print_of(other)


def test_the_print_of_a_graph_tells_where_each_node_stands() -> None:
    """Given the same nodes, when one stands beside another and not below it, then the print is another."""

    def node(node_id: str, *children: Json) -> Json:
        return {"id": node_id, "properties": {}, "children": list(children)}

    shapes = [
        [node("a", node("b", node("c")))],
        [node("a", node("b"), node("c"))],
        [node("a", node("c"), node("b"))],
        [node("a", node("b")), node("c")],
        [node("a"), node("b"), node("c")],
    ]
    assert len({print_of_roots(shape) for shape in shapes}) == len(shapes)
    deep = node("0")
    for number in range(1, 2000):
        deep = node(str(number), deep)
    assert print_of_roots([deep]) != print_of_roots([])
