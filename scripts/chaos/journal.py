"""A session's final journal: whether it is well made, and whether it is what was heard and asked for."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from chaos.findings import Say, short
from chaos.heard import Run
from chaos.history import Ends, JsonObject
from chaos.prints import name_of, print_of, print_of_roots
from tests.support.tree import CLOSING_EVENTS, FACTS, Tree, same_json

CLOSINGS = {"Undo": "command:undo", "Redo": "command:redo"}  # of others: command:executed


class Journal:
    """The commits in order of version, with their facts as prints."""

    def __init__(self, ends: Ends, say: Say) -> None:
        self._id, self._say = ends.session_id, say
        self.commits = sorted(ends.journal, key=lambda commit: commit["version"])
        self.last = ends.version
        self.by_id: defaultdict[str, list[JsonObject]] = defaultdict(list)
        self._prints, self._names = array("q"), array("q")
        self._at: dict[int, tuple[int, int]] = {}  # version -> where its facts are in these
        for commit in self.commits:
            begin = len(self._prints)
            for fact in commit["events"]:
                self._prints.append(print_of(fact))
                self._names.append(name_of(fact["event"], fact))
            self._at[commit["version"]] = (begin, len(self._prints))
            self.by_id[commit["command_id"]].append(commit)

    def check(self) -> None:
        """No gaps, each command once, each commit well made; and undo takes what stands."""
        versions = Counter(commit["version"] for commit in self.commits)
        expected = Counter(range(1, self.last + 1))
        if versions != expected:
            odd = sorted((versions - expected) + (expected - versions))
            self._say(
                "gap", f"{self._id}: {len(self.commits)} commits, version {self.last}; look at {odd[:9]}"
            )
        for command_id, commits in self.by_id.items():
            if len(commits) > 1:
                at = [commit["version"] for commit in commits]
                self._say("twice", f"{self._id}: {command_id} was committed at {at}")
        stands: dict[str, tuple[bool, str]] = {}
        for commit in self.commits:
            if fault := self._fault(commit, stands):
                self._say("journal", f"{self._id} at {commit['version']}: {fault}")

    def _fault(self, commit: JsonObject, stands: dict[str, tuple[bool, str]]) -> str:
        """stands: of each command so far whether it stands, and its type."""
        own, kind, events = commit["command_id"], commit["command_type"], commit["events"]
        closing, turns = CLOSINGS.get(kind, "command:executed"), kind in CLOSINGS
        of = commit["target"] if turns else own
        names = [fact["event"] for fact in events]
        if names[-1:] != [closing] or not FACTS.issuperset(names) or CLOSING_EVENTS.intersection(names[:-1]):
            return f"{kind} has the events {short(names)}"
        stated = {
            "session_id": self._id,
            "version": commit["version"],
            "command_id": of,
            "by": own if turns else None,
            "actor": commit["actor"],
        }
        for fact in events:
            told = {name: fact.get(name) for name in stated}
            if told != stated:
                return f"{fact['event']} says {told} in a commit of {stated}"
        standing, of_type = stands.get(of, (None, kind))
        if turns and standing is not (kind == "Undo"):
            return f"{kind} of {of}, which {'is undone' if standing is False else 'does not stand'}"
        if events[-1].get("command_type") != of_type:
            return f"{closing} of {of_type} says {events[-1].get('command_type')}"
        stands[of] = (kind != "Undo", of_type)
        return ""

    def walk(self, graphs: dict[int, dict[int, str]]) -> list[JsonObject] | None:
        """The nested roots in the end. None when the facts cannot be applied.

        graphs: version -> print -> who read it; compared on the way.
        """
        tree = Tree()
        self._compare(tree, graphs)
        for commit in self.commits:
            try:
                tree.apply_commit(commit["events"], gapless=False)
            except Exception as error:  # whatever it is, no client could follow this journal
                self._say("journal", f"{self._id} at {commit['version']}: {short(repr(error))}")
                return None
            self._compare(tree, graphs)
        return tree.nested()

    def _compare(self, tree: Tree, graphs: dict[int, dict[int, str]]) -> None:
        if tree.version in graphs:
            right = print_of_roots(tree.nested())
            for shown, who in graphs[tree.version].items():
                if shown != right:
                    self._say("snapshot", f"{self._id} at {tree.version}, as {who} read it")

    def compare(self, run: Run) -> None:
        """What a connection heard is what the journal has, in its order."""
        begin, _ = self._at.get(run.start, (0, 0))
        if self._prints[begin : begin + len(run.prints)] == run.prints:
            return
        for version, begin, end in run.commits():
            first, last = self._at.get(version, (0, 0))
            heard, right = run.prints[begin:end], self._prints[first:last]
            if heard == right[: len(heard)]:  # a whole one ends as the journal's does
                continue
            at = f"{run.who}: version {version}, which has {len(right)} facts: "
            new = [place for place, each in enumerate(heard) if each not in right]
            again = Counter(heard) - Counter(right)
            if new:
                like = run.names[begin + new[0]] in self._names[first:last]
                rule = "content" if like else "phantom"
                self._say(rule, at + f"no. {new[0] + 1} of {len(heard)} heard is none of them")
            elif again:
                self._say("repeated", at + f"{again.total()} of them came more often")
            elif all(one < other for one, other in pairwise(map(right.index, heard))):
                self._say("missing", at + f"{len(heard)} were heard")
            else:
                self._say("order", at + f"heard as {[right.index(each) + 1 for each in heard[:50]]}")


def does(wish: JsonObject, commit: JsonObject) -> bool:
    """Whether a commit is what a call asked for. wish: its `kind`, `command_type` and `data`."""
    if wish["kind"] != "execute":
        return bool(commit["command_type"] == wish["kind"].capitalize())
    if commit["command_type"] != wish["command_type"] or not commit["events"]:
        return False
    *facts, closing = commit["events"]
    end = _done(wish["command_type"], wish["data"], facts, 0, closing.get("result", {}))
    return end == len(facts)


def _done(
    command_type: str, data: JsonObject, facts: list[JsonObject], at: int, result: JsonObject
) -> int | None:
    """Where the facts of a command end that begin at `at`; None if they do not do what it asks."""
    node_id, parent_id = data.get("node_id"), data.get("parent_id")
    done = False
    match command_type:
        case "Batch":
            results = result.get("results", [])
            if len(data["commands"]) != len(results):
                return None
            end: int | None = at
            for command, its_result in zip(data["commands"], results, strict=True):
                if end is not None:
                    end = _done(command["command_type"], command["data"], facts, end, its_result)
            return end
        case "CreateNode":
            node = facts[at]["node"] if _states(facts, at, "node-created") else None
            done = node is not None and node["id"] == result.get("node_id") and _is_as_asked(node, data)
            if parent_id is not None and node is not None:
                at += 1
                done = done and _states(facts, at, "node-linked", parent_id=parent_id, child_id=node["id"])
        case "UpdateProperty":
            value = data["value"] if "value" in data else data.get("new_value")
            fields = {"node_id": node_id, "property_id": data["property_id"], "new_value": value}
            done = _states(facts, at, "property-changed", **fields)
        case "DeleteNode":
            # Those below it come first.
            while not (done := _states(facts, at, "node-deleted", node_id=node_id)) and at < len(facts):
                at += 1
        case "LinkNode":
            done = _states(facts, at, "node-linked", parent_id=parent_id, child_id=data["child_id"])
        case "UnlinkNode":
            done = _states(facts, at, "node-unlinked", parent_id=parent_id, child_id=data["child_id"])
        case "MoveNode":
            left = done = _states(facts, at, "node-unlinked", child_id=node_id)
            if parent_id is not None or not left:
                at += left
                done = _states(facts, at, "node-linked", parent_id=parent_id, child_id=node_id)
    return at + 1 if done else None


def _states(facts: list[JsonObject], at: int, event: str, **fields: Any) -> bool:
    return (
        at < len(facts)
        and facts[at]["event"] == event
        and all(same_json(facts[at].get(name), value) for name, value in fields.items())
    )


def _is_as_asked(node: JsonObject, data: JsonObject) -> bool:
    """A template may have given it more properties."""
    wanted = {name: value for name, value in (data.get("properties") or {}).items() if value is not None}
    if data.get("name") is not None:
        wanted["name"] = data["name"]
    return bool(
        data.get("node_id") in (None, node["id"])
        and node["parent_id"] == data.get("parent_id")
        and node["blueprint_type_id"] == data["blueprint_type_id"]
        and all(same_json(node["properties"].get(name), value) for name, value in wanted.items())
    )
