"""The rules of docs/templates.md, one by one: what a template may say, and which values it takes."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest

from talus.core.errors import InvalidBlueprint, InvalidProperty, InvalidValue
from talus.core.template import (
    PROPERTY_TYPES,
    NodeType,
    Option,
    Property,
    Template,
    TemplateError,
    check,
    parse,
)

TODO = "3f8e6a0c-6d0b-4a4e-9b8e-0c6d3f1f7a11"
DONE = "9a1b7c52-0e4d-4c3a-8f6b-5d2e1c0b9a22"

DOCUMENT: dict[str, Any] = {
    "template_id": "boat-1.0_a",
    "name": "Boat",
    "description": "",
    "node_types": [
        {"id": "boat", "name": "Boat", "allowed_children": ["task", "boat"]},
        {
            "id": "task",
            "name": "Task",
            "description": "A step\nof work",
            "properties": [
                {"id": "hours", "name": "Hours", "type": "number", "required": True},
                {
                    "id": "status",
                    "name": "Status",
                    "type": "select",
                    "options": [
                        {"uuid": TODO, "name": "To do", "indicator_id": "empty"},
                        {"uuid": DONE, "name": "Done"},
                    ],
                },
                {"id": "again", "name": "Again", "type": "select", "options": [{"uuid": DONE, "name": "No"}]},
            ],
        },
    ],
}

TYPES = ("node_types",)
TASK = (*TYPES, 1)
HOURS = (*TASK, "properties", 0)
STATUS = (*TASK, "properties", 1)
LAST = (*STATUS, "options", 1)
GONE = object()


def changed(way: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """DOCUMENT with one field changed, added, or taken away (GONE)."""
    document = copy.deepcopy(DOCUMENT)
    at: Any = document
    for step in way[:-1]:
        at = at[step]
    if value is GONE:
        del at[way[-1]]
    else:
        at[way[-1]] = value
    return document


# --- reading ---------------------------------------------------------------------------------


def test_a_parsed_template_is_the_json_of_its_schema():
    schema = json.loads(msgspec.json.encode(parse(DOCUMENT)))
    assert schema == {
        "template_id": "boat-1.0_a",
        "name": "Boat",
        "description": "",
        "node_types": [
            {
                "id": "boat",
                "name": "Boat",
                "description": "",
                "allowed_children": ["task", "boat"],
                "properties": [],
            },
            {
                "id": "task",
                "name": "Task",
                "description": "A step\nof work",
                "allowed_children": [],
                "properties": [
                    {"id": "hours", "name": "Hours", "type": "number", "required": True, "options": []},
                    {
                        "id": "status",
                        "name": "Status",
                        "type": "select",
                        "required": False,
                        "options": [
                            {"uuid": TODO, "name": "To do", "indicator_id": "empty"},
                            {"uuid": DONE, "name": "Done", "indicator_id": None},
                        ],
                    },
                    {
                        "id": "again",
                        "name": "Again",
                        "type": "select",
                        "required": False,
                        "options": [{"uuid": DONE, "name": "No", "indicator_id": None}],
                    },
                ],
            },
        ],
    }


def test_look_ups_leave_no_trace_in_the_schema():
    template = parse(DOCUMENT)
    before = msgspec.to_builtins(template)
    task = template.node_type("task")
    check(task.property("status"), DONE)
    task.allows("task")
    assert msgspec.to_builtins(template) == before


def test_a_schema_can_be_parsed_again():
    template = parse(DOCUMENT)
    assert parse(msgspec.to_builtins(template)) == template
    assert parse(json.loads(msgspec.json.encode(template))) == template


@pytest.mark.parametrize(
    "way, value, place, problem",
    [
        # fields: missing, unknown, of another type
        (("template_id",), GONE, "template_id", "is missing"),
        (("name",), GONE, "name", "is missing"),
        (("description",), GONE, "description", "is missing"),
        (("node_types",), GONE, "node_types", "is missing"),
        ((*TASK, "id"), GONE, "node_types[1].id", "is missing"),
        ((*TASK, "name"), GONE, "node_types[1].name", "is missing"),
        ((*HOURS, "id"), GONE, "node_types[1].properties[0].id", "is missing"),
        ((*HOURS, "name"), GONE, "node_types[1].properties[0].name", "is missing"),
        ((*HOURS, "type"), GONE, "node_types[1].properties[0].type", "is missing"),
        ((*LAST, "uuid"), GONE, "node_types[1].properties[1].options[1].uuid", "is missing"),
        ((*LAST, "name"), GONE, "node_types[1].properties[1].options[1].name", "is missing"),
        (("version",), 1, "template", "'version'"),
        ((*TASK, "children"), [], "node_types[1]", "'children'"),
        ((*HOURS, "unit"), "h", "node_types[1].properties[0]", "'unit'"),
        ((*LAST, "color"), "red", "node_types[1].properties[1].options[1]", "'color'"),
        ((*TASK, 7), "x", "node_types[1]", "the name of a field should be text"),
        ((7,), "x", "template", "the name of a field should be text"),
        (("\ud800",), "x", "template", "surrogate"),
        (("name",), 1966, "name", "should be text, not a number; put it in quotes"),
        (("description",), None, "description", "should be text, not nothing"),
        ((*HOURS, "name"), False, "node_types[1].properties[0].name", "not true or false; put it in quotes"),
        ((*HOURS, "required"), "yes", "node_types[1].properties[0].required", "should be true or false"),
        ((*LAST, "indicator_id"), 3, "node_types[1].properties[1].options[1].indicator_id", "quotes"),
        ((*TASK, "properties"), None, "node_types[1].properties", "should be a list, not nothing"),
        ((*TASK, "allowed_children"), "task", "node_types[1].allowed_children", "should be a list, not text"),
        ((*TYPES, 0), "boat", "node_types[0]", "should be a mapping of fields, not text"),
        (("node_types",), {"boat": {}}, "node_types", "should be a list, not a mapping"),
        # ids
        (("template_id",), "", "template_id", "1-128 of"),
        (("template_id",), "a b", "template_id", "1-128 of"),
        (("template_id",), "boat~1", "template_id", "1-128 of"),
        (("template_id",), "boat\n", "template_id", "1-128 of"),
        (("template_id",), "bööt", "template_id", "1-128 of"),
        (("template_id",), "a" * 129, "template_id", "1-128 of"),
        ((*TASK, "id"), "", "node_types[1].id", "1-128 printable"),
        ((*TASK, "id"), "a" * 129, "node_types[1].id", "1-128 printable"),
        ((*TASK, "id"), "a\tb", "node_types[1].id", "1-128 printable"),
        ((*TASK, "id"), "__proto__", "node_types[1].id", "cannot be an id"),
        ((*TASK, "id"), "constructor", "node_types[1].id", "cannot be an id"),
        ((*TASK, "id"), "prototype", "node_types[1].id", "cannot be an id"),
        ((*HOURS, "id"), "", "node_types[1].properties[0].id", "1-128 printable"),
        ((*HOURS, "id"), "a" * 129, "node_types[1].properties[0].id", "1-128 printable"),
        ((*HOURS, "id"), "__proto__", "node_types[1].properties[0].id", "cannot be an id"),
        ((*LAST, "indicator_id"), "", "node_types[1].properties[1].options[1].indicator_id", "1-128"),
        # twice
        ((*TASK, "id"), "boat", "node_types[1].id", "'boat' is taken by node_types[0]"),
        ((*HOURS, "id"), "status", "node_types[1].properties[1].id", "taken by node_types[1].properties[0]"),
        ((*LAST, "uuid"), TODO, "node_types[1].properties[1].options[1].uuid", "taken by"),
        # what belongs together
        (("node_types",), [], "node_types", "is empty"),
        ((*TYPES, 0, "allowed_children"), ["task", "tsk"], "node_types[0].allowed_children[1]", "'tsk'"),
        ((*HOURS, "type"), "numbr", "node_types[1].properties[0].type", "there are text, markdown, number"),
        ((*STATUS, "type"), "text", "node_types[1].properties[1].options", "only a select"),
        ((*HOURS, "type"), "select", "node_types[1].properties[0].options", "needs options"),
        ((*STATUS, "options"), [], "node_types[1].properties[1].options", "needs options"),
        ((*HOURS, "id"), "name", "node_types[1].properties[0].type", "always text"),
        # option uuids
        ((*LAST, "uuid"), "done", "node_types[1].properties[1].options[1].uuid", "not a UUID in lower case"),
        ((*LAST, "uuid"), DONE.upper(), "node_types[1].properties[1].options[1].uuid", "in lower case"),
        ((*LAST, "uuid"), f"{{{DONE}}}", "node_types[1].properties[1].options[1].uuid", "in lower case"),
        ((*LAST, "uuid"), DONE + "\n", "node_types[1].properties[1].options[1].uuid", "1-128 printable"),
        # text
        (("name",), " \n", "name", "is empty"),
        ((*TASK, "name"), "", "node_types[1].name", "is empty"),
        ((*HOURS, "name"), "", "node_types[1].properties[0].name", "is empty"),
        ((*LAST, "name"), "", "node_types[1].properties[1].options[1].name", "is empty"),
        (("description",), "a\x00b", "description", "'\\x00'"),
        ((*TASK, "description"), "a\ud800b", "node_types[1].description", "'\\ud800'"),
        ((*HOURS, "name"), "a\x1bb", "node_types[1].properties[0].name", "'\\x1b'"),
    ],
)
def test_a_template_that_breaks_a_rule_is_refused_with_the_place(way, value, place, problem):
    with pytest.raises(TemplateError) as refused:
        parse(changed(way, value))
    assert refused.value.place == place
    assert problem in refused.value.problem
    assert str(refused.value) == f"{place}: {refused.value.problem}"


def test_quotes_are_advised_only_where_they_help():
    with pytest.raises(TemplateError) as refused:
        parse(changed(("name",), ["Boat"]))
    assert refused.value.problem == "should be text, not a list"


@pytest.mark.parametrize("document", [None, [], "boat", 3, True, {}, {1: 2}, [[[[]]]]])
def test_anything_may_come_from_a_parser(document):
    with pytest.raises(TemplateError):
        parse(document)


@pytest.mark.parametrize(
    "way, value",
    [
        (("template_id",), "a" * 128),
        ((*TASK, "allowed_children"), []),
        ((*TYPES, 0, "allowed_children"), ["boat"]),
        ((*HOURS, "id"), "Stunden à la carte / 你好"),
        ((*HOURS, "id"), "a" * 128),
        ((*HOURS, "options"), []),
        ((*HOURS, "name"), "Prêt\u00a0: oui 👩‍🔧"),
        ((*HOURS,), {"id": "name", "name": "Title", "type": "text"}),
        ((*LAST, "indicator_id"), None),
        ((*TASK, "properties"), []),
    ],
)
def test_what_is_allowed_is_taken(way, value):
    parse(changed(way, value))


def test_ids_and_uuids_need_to_differ_only_within_their_list():
    """Two types may have properties of one id, and two selects options of one uuid."""
    document = changed((*TYPES, 0, "properties"), copy.deepcopy(DOCUMENT["node_types"][1]["properties"]))
    assert parse(document).node_type("boat").property("hours").type == "number"


# --- look-ups --------------------------------------------------------------------------------


def test_a_type_is_found_by_its_id():
    template = parse(DOCUMENT)
    assert template.node_type("task") is template.node_types[1]


@pytest.mark.parametrize("type_id", ["phase", "", "Task", "__proto__"])
def test_an_unknown_type_is_named_in_the_refusal(type_id):
    with pytest.raises(InvalidBlueprint) as refused:
        parse(DOCUMENT).node_type(type_id)
    assert repr(type_id) in refused.value.message


def test_a_property_is_found_by_its_id():
    task = parse(DOCUMENT).node_type("task")
    assert task.property("status") is task.properties[1]


@pytest.mark.parametrize("property_id", ["cost", "", "Status", "__proto__"])
def test_an_unknown_property_is_named_in_the_refusal(property_id):
    with pytest.raises(InvalidProperty) as refused:
        parse(DOCUMENT).node_type("task").property(property_id)
    assert repr(property_id) in refused.value.message


def test_every_type_has_a_name_as_text():
    name = parse(DOCUMENT).node_type("boat").property("name")
    assert (name.id, name.type) == ("name", "text")


def test_a_template_may_call_the_name_something_else():
    document = changed((*TASK, "properties", 0), {"id": "name", "name": "Title", "type": "text"})
    assert parse(document).node_type("task").property("name").name == "Title"


@pytest.mark.parametrize(
    "parent, child, allowed",
    [("boat", "task", True), ("boat", "boat", True), ("task", "task", False), ("boat", "tas", False)],
)
def test_a_type_allows_the_children_that_it_lists(parent, child, allowed):
    assert parse(DOCUMENT).node_type(parent).allows(child) is allowed


def test_the_defaults_are_the_first_options_of_the_selects():
    template = parse(DOCUMENT)
    assert template.node_type("task").defaults() == {"status": TODO, "again": DONE}
    assert template.node_type("boat").defaults() == {}


def test_templates_made_by_hand_need_only_what_has_no_default():
    template = Template("t", "T", "", (NodeType("a", "A", ("a",), (Property("p", "P", "text"),)),))
    assert template.node_type("a").property("p") == Property("p", "P", "text", False, ())
    assert Option("u", "n").indicator_id is None


# --- values ----------------------------------------------------------------------------------

UUID = "550e8400-e29b-41d4-a716-446655440000"
VALUES: list[tuple[str, list[object], list[object]]] = [
    ("text", ["", "a", "a\nb", "1"], [1, 1.5, True, [], {}, ["a"]]),
    ("markdown", ["", "# a\n\n* b"], [1, False, ["a"], {"a": "b"}]),
    ("number", [0, -3, 2.5, 2**53 - 1], [True, False, "3", "", [3], {}]),
    ("currency", [0, -3, 149.9], [True, False, "149.90", "$3", [3]]),
    (
        "date",
        ["2026-01-28", "2028-02-29", "0001-01-01", "9999-12-31"],
        [
            *["", "2026-02-29", "2026-13-01", "2026-00-10", "2026-01-32", "0000-01-01"],
            *["2026-1-2", "20260128", "2026-W05-3", "2026-01-28T00:00:00Z", " 2026-01-28", "2026-01-28\n"],
            *["٢٠٢٦-٠١-٢٨", "28.01.2026", 20260128, True, ["2026-01-28"]],
        ],
    ),
    ("checkbox", [True, False], [0, 1, "true", "", [], {}]),
    ("select", [TODO, DONE], ["", "To do", "empty", TODO.upper(), UUID, [TODO], {"uuid": TODO}, 0, False]),
    (
        "node_reference",
        [UUID, "00000000-0000-0000-0000-000000000000"],
        [
            *["", "root", UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}"],
            *[UUID + "\n", UUID[:-1], UUID + "0", "g" + UUID[1:], [UUID], 7, True],
        ],
    ),
    (
        "url",
        [
            *["http://a", "https://example.org/a?b=c#d", "HTTPS://EXAMPLE.ORG", "ftp://example.org/x"],
            *["mailto:ann@example.org", "tel:+1-555-0100", "http://[::1]:5000/", "https://bücher.example/ä"],
        ],
        [
            *[
                "",
                "example.org",
                "/a/b",
                "//example.org",
                "http:",
                "http://",
                "http:///a",
                "http:a",
                "https://?q",
            ],
            *[
                "javascript:alert(1)",
                "data:text/html,x",
                "file:///etc/passwd",
                "ssh://a",
                "xhttp://a",
                "mailto:",
            ],
            *[
                "tel:",
                "http://a b",
                "http://a\n",
                " http://a",
                "http://a\tb",
                "http://a\u00a0b",
                "http://a\u2028b",
            ],
            *["java\nscript:x\nhttp://a", 1, True, ["http://a"], {"href": "http://a"}],
        ],
    ),
]


def of_type(kind: str) -> Property:
    options = (Option(TODO, "To do", "empty"), Option(DONE, "Done")) if kind == "select" else ()
    return Property("its_id", "Its name", kind, options=options)


def test_every_type_of_property_has_its_table_of_values():
    assert [kind for kind, _, _ in VALUES] == list(PROPERTY_TYPES)


@pytest.mark.parametrize("kind, value", [(kind, value) for kind, good, _ in VALUES for value in good])
def test_a_value_that_fits_is_taken(kind, value):
    check(of_type(kind), value)


@pytest.mark.parametrize("kind, value", [(kind, value) for kind, _, bad in VALUES for value in bad])
def test_a_value_that_does_not_fit_is_refused_by_the_name_of_its_property(kind, value):
    with pytest.raises(InvalidValue) as refused:
        check(of_type(kind), value)
    assert "'its_id' takes " in refused.value.message


def test_a_huge_value_is_judged_at_once():
    """No pattern may go back over what it has read: 256 KiB is what a value can have."""
    for kind in PROPERTY_TYPES:
        for value in (
            "a" * 262_144,
            "http://" + "a" * 262_144 + " ",
            "0" * 262_144,
            "mailto:" * 37_000 + "\n",
        ):
            if kind not in ("text", "markdown"):
                with pytest.raises(InvalidValue):
                    check(of_type(kind), value)
