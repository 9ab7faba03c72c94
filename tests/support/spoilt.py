"""What may go wrong in a story: each function spoils one thing. `SPOILT` names the rule that has to say so.

Whoever imports this and `stories` has the folder `scripts` on his path.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from chaos import history
from chaos.findings import ANSWER_S
from chaos.history import Ended, Fetched, Heard, Holds, Invoked, Joined, Probed
from msgspec.structs import replace

from tests.support.stories import Story
from tests.support.tree import CLOSING_EVENTS, FACTS, rebuilt

Json = dict[str, Any]
Spoil = Callable[[Story], None]

OTHER = "00000000-0000-4000-8000-0000000000ff"  # an id of nothing


# What a story consists of


def one(found: Iterator[Any]) -> Any:
    """The first: a story is long enough to have one of everything."""
    return next(found)


def calls(story: Story) -> Iterator[tuple[Invoked, Ended, list[Invoked]]]:
    """Each call with its end and all that have its id."""
    ended = {each.call: each for each in story.of(Ended)}
    same: dict[tuple[str, str], list[Invoked]] = {}
    for each in story.of(Invoked):
        same.setdefault((each.session_id, each.command_id), []).append(each)
    for each in story.of(Invoked):
        yield each, ended[each.call], same[each.session_id, each.command_id]


def single(story: Story, kind: str = "execute") -> tuple[Invoked, Ended]:
    """A command that was sent once and acknowledged, in the middle of its session."""
    return one(
        (invoked, ended)
        for invoked, ended, same in calls(story)
        if len(same) == 1
        and ended.outcome == "ok"
        and invoked.kind == kind
        and 10 < ended.answer["version"] < story.ends(invoked.session_id).version - 10
    )


def repeat(story: Story) -> tuple[Invoked, Ended]:
    """A call that was answered from the record, of a command that was acknowledged before."""
    ended_of = {each.call: each for each in story.of(Ended)}
    return one(
        (invoked, ended)
        for invoked, ended, same in calls(story)
        if ended.answer.get("duplicate")
        and all(each.body == invoked.body for each in same)
        and any(ended_of[each.call].outcome == "ok" for each in same if each is not invoked)
    )


def commit_of(story: Story, invoked: Invoked) -> Json:
    journal = story.ends(invoked.session_id).journal
    return one(each for each in journal if each["command_id"] == invoked.command_id)


def heard_commits(story: Story, least: int = 2) -> Iterator[tuple[list[Any], list[Heard]]]:
    """Commits of `least` facts or more that somebody heard whole and went on hearing: his book, and they."""
    for book in story.books.values():
        facts = [each for each in book if isinstance(each, Heard) and each.event in FACTS]
        streams: dict[tuple[int, str], list[Heard]] = {}
        for fact in facts:
            streams.setdefault((fact.connection, fact.payload["session_id"]), []).append(fact)
        for stream in streams.values():
            by_version = itertools.groupby(stream, key=lambda fact: fact.payload["version"])
            for _, each in [(version, list(commit)) for version, commit in by_version][1:-1]:
                if len(each) >= least:
                    yield book, each


def place(book: list[Any], record: Any) -> int:
    return one(at for at, each in enumerate(book) if each is record)


def remove(book: list[Any], *records: Any) -> None:
    for record in records:
        del book[place(book, record)]


def insert_after(book: list[Any], record: Any, *more: Any) -> None:
    at = place(book, record) + 1
    book[at:at] = more


def changed(record: Any, **payload: Any) -> Any:
    """A copy with some fields of its payload changed."""
    other = copy.deepcopy(record)
    other.payload.update(payload)
    return other


def heard_as(like: Heard, payload: Json, **more: Any) -> Heard:
    """This event, heard where and when another was."""
    return replace(like, event=payload["event"], payload=payload, **more)


def fact_with(story: Story, field: str) -> Json:
    """The payload of a fact heard live that has this field."""
    return one(
        fact.payload for _, commit in heard_commits(story, 1) for fact in commit if field in fact.payload
    )


def last_heard(story: Story, client: str) -> tuple[list[Any], Heard]:
    """The last fact that a client heard in session one."""
    book = story.books[client]
    return book, one(
        each
        for each in reversed(book)
        if isinstance(each, Heard) and each.event in FACTS and each.payload["session_id"] == "one"
    )


def refused_before(story: Story, invoked: Invoked, ended: Ended, code: str = "STORAGE_FAILED") -> Ended:
    """The same call was sent just before, and was refused."""
    first, refused = copy.copy(invoked), copy.copy(ended)
    first.call = refused.call = "refused"
    refused.outcome, refused.answer, refused.at_s = "failed", {"code": code, "message": ""}, first.at_s
    book = story.books[invoked.client]
    book[place(book, invoked) : place(book, invoked)] = [first, refused]
    return refused


# What may go wrong

SPOILT: list[tuple[str, Spoil]] = []


def spoils(rule: str) -> Callable[[Spoil], Spoil]:
    def keep(spoil: Spoil) -> Spoil:
        SPOILT.append((rule, spoil))
        return spoil

    return keep


# commands and commits


@spoils("lost")
def an_acknowledged_command_is_not_there(story: Story) -> None:
    invoked, _ = single(story)
    commit_of(story, invoked)["command_id"] = OTHER


@spoils("lost")
def the_last_commit_is_gone_after_its_acknowledgement(story: Story) -> None:
    ends = story.ends("one")
    ends.journal.pop()
    ends.version -= 1


@spoils("lost")
def acknowledged_at_another_version(story: Story) -> None:
    single(story)[1].answer["version"] += 1


@spoils("answer")
def acknowledged_with_another_result(story: Story) -> None:
    single(story)[1].answer["result"] = {"node_id": OTHER}


@spoils("answer")
def an_undo_is_acknowledged_for_another_command(story: Story) -> None:
    single(story, "undo")[1].answer["target"] = OTHER


@spoils("uninvoked")
def a_commit_that_nobody_asked_for(story: Story) -> None:
    invoked, ended = single(story)
    remove(story.books[invoked.client], invoked, ended)


@spoils("twice")
def a_command_is_doubled(story: Story) -> None:
    ends = story.ends("one")
    again = copy.deepcopy(ends.journal[-1])
    ends.version = again["version"] = ends.version + 1
    for fact in again["events"]:
        fact["version"] = ends.version
    ends.journal.append(again)


@spoils("twice")
def an_unknown_command_is_applied_at_once_and_again_when_it_is_repeated(story: Story) -> None:
    ended = {each.call: each for each in story.of(Ended)}
    first, again = one(
        (same[0], same[1])
        for _, _, same in calls(story)
        if len(same) == 2 and ended[same[0].call].outcome == "unknown" and ended[same[1].call].outcome == "ok"
    )
    journal = story.ends(first.session_id).journal
    version = commit_of(story, first)["version"]
    journal[version]["command_id"] = first.command_id
    ended[again.call].answer["version"] = version + 1


@spoils("refused")
def a_refused_command_has_an_effect(story: Story) -> None:
    _, ended = single(story)
    ended.outcome, ended.answer = "failed", {"code": "NODE_NOT_FOUND", "message": "Node not found"}


@spoils("refused")
def a_full_disk_holds_it_after_all(story: Story) -> None:
    _, ended = single(story)
    ended.outcome, ended.answer = "failed", {"code": "STORAGE_FULL", "message": "The disk is full"}


@spoils("repeat")
def answered_differently_the_second_time(story: Story) -> None:
    answer = repeat(story)[1].answer
    answer["undo_available"] = not answer["undo_available"]


@spoils("repeat")
def carried_out_anew(story: Story) -> None:
    del repeat(story)[1].answer["duplicate"]


@spoils("repeat")
def a_duplicate_of_nothing(story: Story) -> None:
    single(story)[1].answer["duplicate"] = True


@spoils("repeat")
def another_command_with_the_same_id_is_answered(story: Story) -> None:
    ended_of = {each.call: each for each in story.of(Ended)}
    ended, same = one((e, s) for _, e, s in calls(story) if e.answer.get("code") == "COMMAND_ID_REUSED")
    first = one(each for each in map(ended_of.get, (each.call for each in same)) if each.outcome == "ok")
    ended.outcome, ended.answer = "ok", {**first.answer, "duplicate": True}


@spoils("repeat")
def an_id_counts_as_used_by_the_command_itself(story: Story) -> None:
    _, ended = repeat(story)
    ended.outcome, ended.answer = "failed", {"code": "COMMAND_ID_REUSED", "message": "used"}


@spoils("repeat")
def an_id_counts_as_used_that_was_never_committed(story: Story) -> None:
    ended = one(e for _, e, s in calls(story) if e.answer.get("code") == "NODE_NOT_FOUND" and len(s) == 1)
    ended.answer["code"] = "COMMAND_ID_REUSED"
    invoked = one(each for each in story.of(Invoked) if each.call == ended.call)
    other = copy.deepcopy(invoked)
    other.call, other.body["data"] = "other", {"node_id": OTHER}
    insert_after(story.books[invoked.client], invoked, other)


@spoils("repeat")
def a_repeat_is_carried_out_anew_and_refused(story: Story) -> None:
    _, ended = repeat(story)
    ended.outcome, ended.answer = "failed", {"code": "NODE_EXISTS", "message": "A node with this id exists"}


@spoils("gap")
def a_gap_in_the_versions(story: Story) -> None:
    del story.ends("one").journal[20]


@spoils("gap")
def a_version_that_the_session_does_not_have_yet(story: Story) -> None:
    story.ends("one").version += 1


@spoils("realtime")
def a_later_call_has_an_earlier_version(story: Story) -> None:
    invoked, ended = single(story)
    after = one(
        other
        for call, other, _ in calls(story)
        if call.session_id == invoked.session_id
        and other.answer.get("version") == ended.answer["version"] + 1
    )
    invoked.at_s = after.at_s + 0.0001


@spoils("realtime")
def a_fact_is_heard_before_its_command_was_sent(story: Story) -> None:
    last = story.ends("one").journal[-1]["command_id"]
    invoked = one(each for each in story.of(Invoked) if each.command_id == last)
    heard = [each.at_s for each in story.of(Heard) if each.payload.get("command_id") == last]
    invoked.at_s = min(heard) + 0.1


@spoils("realtime")
def a_later_call_has_an_earlier_version_and_was_refused_before(story: Story) -> None:
    invoked, ended = single(story)
    a_later_call_has_an_earlier_version(story)
    first = refused_before(story, invoked, ended)
    first.at_s = one(each for each in story.of(Invoked) if each.call == first.call).at_s = 0.0


@spoils("sequence")
def a_client_s_calls_change_places(story: Story) -> None:
    told = [
        (i, e)
        for i, e, _ in calls(story)
        if i.connection is not None and e.outcome == "ok" and not e.answer.get("duplicate")
    ]
    way = [(invoked.client, invoked.connection, invoked.session_id) for invoked, _ in told]
    first, second = one(
        (told[way.index(each)][0], told[at][0]) for at, each in enumerate(way) if way.index(each) < at
    )
    book = story.books[first.client]
    remove(book, second)
    book.insert(place(book, first), second)


def commit_like(story: Story, command_type: str) -> tuple[Invoked, Json]:
    return one(
        (invoked, commit_of(story, invoked))
        for invoked, ended, same in calls(story)
        if len(same) == 1 and ended.outcome == "ok" and invoked.body.get("command_type") == command_type
    )


def asked_otherwise(command_type: str, **data: Any) -> None:
    def spoil(story: Story) -> None:
        commit_like(story, command_type)[0].body["data"].update(data)

    spoil.__name__ = f"{command_type}_with_another_{'_and_'.join(data)}"
    SPOILT.append(("body", spoil))


asked_otherwise("CreateNode", blueprint_type_id="other")
asked_otherwise("CreateNode", parent_id=OTHER)
asked_otherwise("CreateNode", name="other")
asked_otherwise("CreateNode", properties={"count": "other"})
asked_otherwise("CreateNode", node_id=OTHER)
asked_otherwise("UpdateProperty", value="other")
asked_otherwise("UpdateProperty", property_id="other")
asked_otherwise("UpdateProperty", node_id=OTHER)
asked_otherwise("DeleteNode", node_id=OTHER)
asked_otherwise("LinkNode", child_id=OTHER)
asked_otherwise("UnlinkNode", parent_id=OTHER)
asked_otherwise("MoveNode", node_id=OTHER)
asked_otherwise("MoveNode", parent_id=OTHER)
asked_otherwise("Batch", commands=[])


@spoils("body")
def a_batch_was_to_do_something_else(story: Story) -> None:
    commit_like(story, "Batch")[0].body["data"]["commands"][-1]["data"]["node_id"] = OTHER


@spoils("body")
def more_is_deleted_than_was_to_be(story: Story) -> None:
    invoked, commit = one(
        (invoked, commit)
        for invoked, ended, _ in calls(story)
        if ended.outcome == "ok" and invoked.body.get("command_type") == "DeleteNode"
        for commit in [commit_of(story, invoked)]
        if len(commit["events"]) > 3
    )
    invoked.body["data"]["node_id"] = commit["events"][1]["node_id"]


@spoils("body")
def another_node_was_to_become_a_root(story: Story) -> None:
    one(
        invoked
        for invoked, ended, same in calls(story)
        if ended.outcome == "ok"
        and len(same) == 1
        and invoked.body.get("command_type") == "MoveNode"
        and commit_of(story, invoked)["events"][-2]["event"] == "node-unlinked"
    ).body["data"]["node_id"] = OTHER


@spoils("body")
def another_type_was_asked_for(story: Story) -> None:
    commit_like(story, "DeleteNode")[0].body["command_type"] = "UpdateProperty"


@spoils("body")
def an_undo_where_a_redo_was_asked_for(story: Story) -> None:
    single(story, "undo")[0].kind = "redo"


# the journal in itself


def misstated(**changes: Any) -> None:
    def spoil(story: Story) -> None:
        story.ends("one").journal[20]["events"][0].update(changes)

    spoil.__name__ = f"the_journal_has_a_fact_of_another_{'_'.join(changes)}"
    SPOILT.append(("journal", spoil))


misstated(session_id="two")
misstated(version=1)
misstated(actor="mallory")
misstated(command_id=OTHER)
misstated(by=OTHER)


@spoils("journal")
def the_journal_s_facts_cannot_be_applied(story: Story) -> None:
    commit = one(c for c in story.ends("one").journal if c["events"][0]["event"] == "node-created")
    commit["events"].insert(0, commit["events"][0])


@spoils("journal")
def a_commit_has_no_closing_event(story: Story) -> None:
    story.ends("one").journal[20]["events"].pop()


@spoils("journal")
def a_command_is_undone_that_is_undone(story: Story) -> None:
    undos = [each for each in story.ends("one").journal if each["command_type"] == "Undo"]
    one_undo, other = undos[:2]
    other["target"] = one_undo["target"]
    for fact in other["events"]:
        fact["command_id"] = one_undo["target"]


@spoils("journal")
def an_undo_is_closed_as_a_command(story: Story) -> None:
    undo = one(each for each in story.ends("one").journal if each["command_type"] == "Undo")
    undo["events"][-1]["event"] = "command:executed"


@spoils("journal")
def an_undo_names_another_type(story: Story) -> None:
    undo = one(each for each in story.ends("one").journal if each["command_type"] == "Undo")
    undo["events"][-1]["command_type"] = "Undo"


# what is heard


@spoils("phantom")
def facts_of_an_uncommitted_batch_are_heard_before_a_crash(story: Story) -> None:
    kill = one(each for each in story.of(history.Fault) if each.kind == "kill")
    book = story.books["ann"]
    last = one(
        each
        for each in reversed(book)
        if isinstance(each, Heard) and each.event in CLOSING_EVENTS and each.at_s < kill.until_s
    )
    fact = {**last.payload, "version": last.payload["version"] + 1, "node_id": OTHER, "command_id": OTHER}
    insert_after(book, last, heard_as(last, {**fact, "event": "node-deleted"}))


@spoils("phantom")
def a_fact_beyond_the_journal(story: Story) -> None:
    book, last = last_heard(story, "ben")
    version = story.ends("one").version + 1
    insert_after(book, last, changed(last, version=version, command_id=OTHER))


@spoils("future")
def a_notice_of_a_version_that_never_was(story: Story) -> None:
    notice = one(each for each in story.of(Heard) if each.event == "session:connected")
    notice.payload["version"] = story.ends(notice.payload["session_id"]).version + 1


@spoils("order")
def two_facts_are_swapped(story: Story) -> None:
    _, commit = one(heard_commits(story, 3))
    commit[0].payload, commit[1].payload = commit[1].payload, commit[0].payload
    commit[0].event, commit[1].event = commit[1].event, commit[0].event


@spoils("missing")
def a_fact_is_dropped(story: Story) -> None:
    book, commit = one(heard_commits(story, 3))
    remove(book, commit[1])


@spoils("missing")
def a_commit_is_dropped(story: Story) -> None:
    book, commit = one(heard_commits(story))
    remove(book, *commit)


@spoils("content")
def a_fact_with_other_content(story: Story) -> None:
    fact_with(story, "node")["node"]["name"] = "other"


@spoils("content")
def a_fact_with_another_value(story: Story) -> None:
    fact_with(story, "new_value")["new_value"] = {"other": True}


@spoils("content")
def a_fact_with_another_timestamp(story: Story) -> None:
    fact_with(story, "child_id")["timestamp"] = "2026-01-28T15:30:00Z"


@spoils("content")
def a_fact_under_another_name(story: Story) -> None:
    _, commit = one(heard_commits(story, 3))
    commit[0].event = "node-deleted"


@spoils("repeated")
def a_fact_is_doubled(story: Story) -> None:
    book, commit = one(heard_commits(story))
    insert_after(book, commit[0], changed(commit[0]))


@spoils("repeated")
def a_commit_is_heard_twice(story: Story) -> None:
    book, commit = one(heard_commits(story))
    insert_after(book, commit[-1], *map(changed, commit))


@spoils("repeated")
def a_commit_is_heard_again_after_a_rejoin(story: Story) -> None:
    joined = one(each for each in story.of(Joined) if each.payload["resume"] == "replay" and each.since)
    journal = story.ends(joined.session_id).journal
    insert_after(
        story.books[joined.client],
        joined,
        *(
            Heard(
                at_s=joined.at_s,
                client=joined.client,
                connection=joined.connection,
                event=fact["event"],
                payload={**fact, "replayed": True},
            )
            for fact in journal[joined.since - 1]["events"]
        ),
    )


@spoils("inside")
def a_fact_inside_another_commit(story: Story) -> None:
    book, commit = one(heard_commits(story))
    following = one(
        each
        for each in book[place(book, commit[-1]) + 1 :]
        if isinstance(each, Heard)
        and each.event in FACTS
        and each.connection == commit[0].connection
        and each.payload["version"] == commit[0].payload["version"] + 1
        and each.payload["session_id"] == commit[0].payload["session_id"]
    )
    remove(book, following)
    insert_after(book, commit[0], following)


@spoils("inside")
def a_commit_without_its_closing_event(story: Story) -> None:
    book, commit = one(heard_commits(story))
    remove(book, commit[-1])


@spoils("inside")
def a_notice_inside_a_commit(story: Story) -> None:
    book, commit = one(heard_commits(story))
    notice = changed(commit[0])
    notice.event = notice.payload["event"] = "session:connected"
    insert_after(book, commit[0], notice)


@spoils("replayed")
def a_replayed_fact_says_nothing_of_it(story: Story) -> None:
    del one(each for each in story.of(Heard) if "replayed" in each.payload).payload["replayed"]


@spoils("replayed")
def a_live_fact_says_that_it_is_replayed(story: Story) -> None:
    _, commit = one(each for each in heard_commits(story) if "replayed" not in each[1][0].payload)
    commit[0].payload["replayed"] = True


@spoils("unjoined")
def a_fact_on_a_connection_that_is_in_no_room(story: Story) -> None:
    _, commit = one(heard_commits(story))
    commit[0].connection = 99


@spoils("unjoined")
def a_fact_after_leaving(story: Story) -> None:
    left = one(each for each in story.of(Heard, "eve") if each.event == "left")
    book, _ = last_heard(story, "eve")
    fact = story.ends("one").journal[-1]["events"][-1]
    insert_after(book, left, heard_as(left, fact))


@spoils("early")
def an_acknowledgement_before_the_facts(story: Story) -> None:
    for invoked, ended, same in calls(story):
        book = story.books[invoked.client]
        facts = [
            each
            for each in book
            if isinstance(each, Heard)
            and each.event in FACTS
            and each.connection == invoked.connection
            and each.payload.get("by", each.payload.get("command_id")) == invoked.command_id
        ]
        if len(same) == 1 and ended.outcome == "ok" and facts:
            remove(book, ended)
            book.insert(place(book, facts[-1]), ended)
            return


@spoils("resume")
def a_replay_to_one_who_asked_for_none(story: Story) -> None:
    one(each for each in story.of(Joined) if each.since is None).payload["resume"] = "replay"


@spoils("resume")
def a_replay_of_nothing(story: Story) -> None:
    one(each for each in story.of(Joined) if each.payload["resume"] == "current").payload["resume"] = "replay"


@spoils("resume")
def current_for_one_who_missed_something(story: Story) -> None:
    one(each for each in story.of(Joined) if each.payload["resume"] == "replay").payload["resume"] = "current"


@spoils("epoch")
def another_epoch_after_a_restart(story: Story) -> None:
    story.of(Joined)[-1].payload["epoch"] = OTHER


@spoils("epoch")
def a_graph_of_another_epoch(story: Story) -> None:
    story.of(Fetched)[-1].payload["epoch"] = OTHER


@spoils("epoch")
def a_tree_of_another_epoch(story: Story) -> None:
    story.of(Holds)[-1].epoch = OTHER


# what is read


@spoils("stale")
def a_read_of_yesterday(story: Story) -> None:
    heard = story.of(Heard)
    read = one(
        each
        for each in story.of(Fetched)
        if each.version is None
        and any(
            other.payload.get("version") == each.payload["version"]
            and other.payload["session_id"] == each.session_id
            and other.at_s < each.asked_s
            for other in heard
        )
    )
    version = read.payload["version"] - 1
    facts = (commit["events"] for commit in story.ends(read.session_id).journal[:version])
    roots = rebuilt(itertools.chain.from_iterable(facts)).nested()
    read.payload.update(version=version, roots=roots)


@spoils("stale")
def a_server_that_forgot_what_a_client_holds(story: Story) -> None:
    joined = one(each for each in story.of(Joined) if each.payload["resume"] == "snapshot")
    joined.since = joined.payload["version"] + 1


def grown(story: Story, past: bool) -> list[Json]:
    """The roots of a graph that was read and has some."""
    return one(
        each.payload["roots"]
        for each in story.of(Fetched)
        if (each.version is not None) == past and len(each.payload["roots"]) > 1
    )


@spoils("snapshot")
def a_graph_with_another_order_of_siblings(story: Story) -> None:
    grown(story, past=False).reverse()


@spoils("snapshot")
def a_graph_with_another_property(story: Story) -> None:
    grown(story, past=False)[0]["properties"]["other"] = 1


@spoils("snapshot")
def a_past_graph_without_a_node(story: Story) -> None:
    grown(story, past=True).pop()


@spoils("snapshot")
def a_graph_of_another_version_than_was_asked_for(story: Story) -> None:
    read = one(each for each in story.of(Fetched) if each.version)
    read.version -= 1


# how it ends


@spoils("graph")
def the_graph_differs(story: Story) -> None:
    story.ends("one").graph[0]["name"] = "other"


@spoils("rows")
def the_rows_differ(story: Story) -> None:
    story.ends("one").rows[0]["properties"]["other"] = 1


@spoils("rows")
def the_rows_have_another_order(story: Story) -> None:
    story.ends("one").rows.reverse()


@spoils("tree")
def a_client_s_tree_differs_in_the_order_of_siblings(story: Story) -> None:
    story.of(Holds)[0].roots.reverse()


@spoils("tree")
def a_client_s_tree_lacks_a_property(story: Story) -> None:
    one(root for root in story.of(Holds)[0].roots if root["properties"])["properties"].popitem()


@spoils("tree")
def a_client_s_tree_is_of_an_earlier_version(story: Story) -> None:
    story.of(Holds)[0].version -= 1


@spoils("silent")
def a_client_s_tree_is_missing(story: Story) -> None:
    book = story.books["ben"]
    remove(book, *story.of(Holds, "ben"))


@spoils("silent")
def a_client_hears_nothing_any_more(story: Story) -> None:
    book, last = last_heard(story, "ben")
    version = last.payload["version"]
    remove(book, *(each for each in story.of(Heard, "ben") if each.payload.get("version") == version))


# after a cure


@spoils("slow")
def a_slow_answer_after_a_cure(story: Story) -> None:
    probe = story.of(Probed)[0]
    probe.at_s = max(probe.asked_s, probe.cured_s) + ANSWER_S + 0.1


@spoils("unanswered")
def no_answer_after_a_cure(story: Story) -> None:
    story.of(Probed)[0].answered = False


@spoils("unprobed")
def a_client_that_is_not_asked_after_a_cure(story: Story) -> None:
    remove(story.books["ann"], story.of(Probed, "ann")[1])


# errors


@spoils("code")
def a_code_that_nobody_knows(story: Story) -> None:
    one(each for each in story.of(Ended) if each.outcome == "failed").answer["code"] = "OOPS"


@spoils("code")
def a_failure_without_a_code(story: Story) -> None:
    one(each for each in story.of(Ended) if each.outcome == "failed").answer = {}


@spoils("internal")
def a_mistake_of_the_server(story: Story) -> None:
    one(each for each in story.of(Ended) if each.outcome == "failed").answer["code"] = "INTERNAL"


@spoils("internal")
def a_mistake_of_the_server_that_the_room_hears(story: Story) -> None:
    failed = one(each for each in story.of(Heard) if each.event == "command:failed")
    failed.payload["error"]["code"] = "INTERNAL"


@spoils("internal")
def a_mistake_of_the_server_that_a_client_is_told(story: Story) -> None:
    book, last = last_heard(story, "ann")
    error = {"message": "Something went wrong", "code": "INTERNAL"}
    insert_after(book, last, replace(last, event="error", payload=error))


def say_failed(story: Story, invoked: Invoked, after: str, **changes: Any) -> None:
    """A client hears that this command failed, right after it heard the event `after` of it."""
    book, heard = one(
        (book, each)
        for book in story.books.values()
        for each in book
        if isinstance(each, Heard)
        and each.event == after
        and each.payload["session_id"] == invoked.session_id
        and each.payload["command_id"] == invoked.command_id
    )
    error = {"code": "STORAGE_FAILED", "message": "The disk refused the write"}
    failed = {**heard.payload, "event": "command:failed", "error": error, **changes}
    # Tried anew, it begins anew.
    begins = [heard] if after == "command:executing" else []
    insert_after(book, heard, heard_as(heard, failed), *begins)


@spoils("announced")
def an_acknowledged_command_is_said_to_have_failed(story: Story) -> None:
    say_failed(story, single(story)[0], "command:executing")


@spoils("announced")
def a_command_is_said_to_have_failed_after_it_was_committed(story: Story) -> None:
    uncertain = {"code": "STORAGE_UNCERTAIN", "message": ""}
    say_failed(story, single(story)[0], "command:executed", error=uncertain)


@spoils("announced")
def a_command_is_said_to_have_failed_that_nobody_gave(story: Story) -> None:
    say_failed(story, single(story)[0], "command:executed", command_id=OTHER)


@spoils("unended")
def a_command_that_is_begun_and_does_not_end(story: Story) -> None:
    book, last = last_heard(story, "carol")
    begun = {**last.payload, "event": "command:executing", "command_id": OTHER}
    insert_after(book, last, heard_as(last, begun))


# the books


@spoils("history")
def two_calls_of_one_name(story: Story) -> None:
    first, second = story.of(Invoked, "ann")[:2]
    remove(story.books["ann"], *(each for each in story.of(Ended, "ann") if each.call == second.call))
    second.call = first.call


@spoils("history")
def an_end_without_a_call(story: Story) -> None:
    story.of(Ended, "ann")[0].call = "ann/0"


@spoils("history")
def a_call_that_ends_twice(story: Story) -> None:
    ended = story.of(Ended, "ann")[0]
    insert_after(story.books["ann"], ended, ended)


@spoils("history")
def a_session_without_an_end(story: Story) -> None:
    remove(story.books["campaign"], story.ends("two"))


@spoils("history")
def a_session_that_ends_twice(story: Story) -> None:
    insert_after(story.books["campaign"], story.ends("two"), story.ends("two"))
