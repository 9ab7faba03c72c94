"""The tables. Models name and create them; hot paths speak SQL (`journal.py`).

All times are UTC milliseconds since 1970. Everything of a session hangs on its
number `session_no`, which is given once and never again.
"""

from __future__ import annotations

import peewee

GONE = -1
GOING = -2


class Meta(peewee.Model):
    """What is said once for the whole file: `epoch`, the UUID of this timeline."""

    key = peewee.TextField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "meta"


class Session(peewee.Model):
    """A session; a removed one stays as a tombstone, so that its id is never used again."""

    no = peewee.IntegerField(primary_key=True)
    id = peewee.TextField(unique=True)
    project_id = peewee.TextField(unique=True, null=True)
    template_id = peewee.TextField(null=True)
    name = peewee.TextField()
    created_ms = peewee.IntegerField()
    active_ms = peewee.IntegerField()  # of the last commit
    version = peewee.IntegerField()
    nodes = peewee.IntegerField()  # of a removed one: GOING while its rows are taken away, GONE after that
    facts = peewee.IntegerField()  # in all its commits, closing events included
    head = peewee.BlobField()  # the hash of its last commit
    removed = peewee.BooleanField()

    class Meta:
        table_name = "session"
        indexes = ((("removed", "active_ms", "no"), False),)


class NodeRow(peewee.Model):
    """The graph as of the session's version; `key` is the place among its siblings."""

    session_no = peewee.IntegerField()
    id = peewee.TextField()
    type = peewee.TextField()
    parent_id = peewee.TextField(null=True)
    key = peewee.TextField()
    properties = peewee.TextField()  # compact JSON

    class Meta:
        table_name = "node"
        primary_key = peewee.CompositeKey("session_no", "id")
        without_rowid = True


class Commit(peewee.Model):
    """One commit; all but `stands` and `turned_at` is written once and is under `hash`.

    target: for an undo or redo, the version of the command that it turned; else null.
    stands: for a command, whether it is in force; null for an undo or redo.
    turned_at: the version of the commit that last put the command into or out of force.
    total: facts of the session up to and with this commit, closing events included.
    hash: SHA-256 over the hash of the commit before, this header and its facts.
    """

    session_no = peewee.IntegerField()
    version = peewee.IntegerField()
    command_id = peewee.TextField()
    command_type = peewee.TextField()
    target = peewee.IntegerField(null=True)
    digest = peewee.BlobField()
    actor = peewee.TextField()
    time_ms = peewee.IntegerField()
    result = peewee.TextField()
    summary = peewee.TextField()
    undo_available = peewee.BooleanField()
    redo_available = peewee.BooleanField()
    total = peewee.IntegerField()
    hash = peewee.BlobField()
    stands = peewee.BooleanField(null=True)
    turned_at = peewee.IntegerField(null=True)

    class Meta:
        table_name = "commits"
        primary_key = peewee.CompositeKey("session_no", "version")
        without_rowid = True
        indexes = ((("session_no", "command_id"), True),)


class FactPart(peewee.Model):
    """Facts of a commit in order, as a JSON array; a large commit has several parts."""

    session_no = peewee.IntegerField()
    version = peewee.IntegerField()
    part = peewee.IntegerField()
    body = peewee.BlobField()

    class Meta:
        table_name = "fact"
        primary_key = peewee.CompositeKey("session_no", "version", "part")
        without_rowid = True


class Touch(peewee.Model):
    """Which commits changed a node: what undo asks, without reading the journal through."""

    session_no = peewee.IntegerField()
    node_id = peewee.TextField()
    version = peewee.IntegerField()

    class Meta:
        table_name = "touch"
        primary_key = peewee.CompositeKey("session_no", "node_id", "version")
        without_rowid = True


class RoleRow(peewee.Model):
    """What a user may do in a session: `owner`, `editor` or `viewer`."""

    session_no = peewee.IntegerField()
    user = peewee.TextField()
    role = peewee.TextField()

    class Meta:
        table_name = "role"
        primary_key = peewee.CompositeKey("session_no", "user")
        without_rowid = True
        indexes = ((("user", "session_no"), False),)


class Revocation(peewee.Model):
    """Tokens of a user that were given out until then (seconds since 1970) are void."""

    user = peewee.TextField(primary_key=True)
    until_s = peewee.IntegerField()

    class Meta:
        table_name = "revocation"
        without_rowid = True


class Audit(peewee.Model):
    """Who did what besides commits, which name their actor themselves; written once.

    action: `create`, `delete`, `appoint` (role null: removed), `revoke`.
    session_no, user, role: whom and what it was about, where it was.
    """

    no = peewee.IntegerField(primary_key=True)
    time_ms = peewee.IntegerField()
    actor = peewee.TextField()
    action = peewee.TextField()
    session_no = peewee.IntegerField(null=True)
    user = peewee.TextField(null=True)
    role = peewee.TextField(null=True)

    class Meta:
        table_name = "audit"


class Snapshot(peewee.Model):
    """The graph as it was at a version, whole: a place from which earlier and later ones are worked out.

    facts: of the session up to and with that version. What it says follows from the
    journal: it may be missing, and can be made again.
    """

    session_no = peewee.IntegerField()
    version = peewee.IntegerField()
    facts = peewee.IntegerField()

    class Meta:
        table_name = "snapshot"
        primary_key = peewee.CompositeKey("session_no", "version")
        without_rowid = True


class SnapshotPart(peewee.Model):
    """Nodes of a snapshot, as a JSON array. Parts come before their snapshot, so some may have none."""

    session_no = peewee.IntegerField()
    version = peewee.IntegerField()
    part = peewee.IntegerField()
    body = peewee.BlobField()

    class Meta:
        table_name = "snapshot_part"
        primary_key = peewee.CompositeKey("session_no", "version", "part")
        without_rowid = True


class Seal(peewee.Model):
    """For each table that no commit's hash covers, a sum over its rows (`seals.py`)."""

    name = peewee.TextField(primary_key=True)
    total = peewee.BlobField()

    class Meta:
        table_name = "seal"
        without_rowid = True


TABLES = (Meta, Session, NodeRow, Commit, FactPart, Touch)
ACCESS_TABLES = (RoleRow, Revocation, Audit)
SNAPSHOT_TABLES = (Snapshot, SnapshotPart)
SEAL_TABLES = (Seal,)

# What undo and redo look up: the latest command that stands (of all, or of an
# actor), and the latest undone.
PARTIAL_INDEXES = (
    "CREATE INDEX commits_standing ON commits (session_no, version) WHERE stands = 1",
    "CREATE INDEX commits_standing_of_actor ON commits (session_no, actor, version) WHERE stands = 1",
    "CREATE INDEX commits_undone ON commits (session_no, turned_at) WHERE stands = 0",
)

# What a commit's hash covers besides its result and its facts, in this order.
HEADER = (
    "session_no, version, command_id, command_type, target, digest, actor, time_ms, summary,"
    " undo_available, redo_available, total"
)
# The tables that hold what is in a session, and their primary keys.
KEYS = {
    "snapshot": ("session_no", "version"),
    "snapshot_part": ("session_no", "version", "part"),
    "node": ("session_no", "id"),
    "fact": ("session_no", "version", "part"),
    "touch": ("session_no", "node_id", "version"),
    "commits": ("session_no", "version"),
}
