"""A template: which types of nodes a project has, what may stand below what, and which values fit.

The rules of a template are read once, by `parse`, from whatever a YAML parser gave; from then on
a Template is frozen and trusted, and `decide` asks it only questions that a dict can answer.
Source: docs/protocol.md, "Commands"; docs/templates.md for the people who write templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import cached_property

import msgspec

from talus.core.errors import InvalidBlueprint, InvalidProperty, InvalidValue
from talus.core.values import FORBIDDEN_IDS, is_uuid

ID_LENGTH_MAX = 128

_TEMPLATE_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{ID_LENGTH_MAX}}}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# A list of schemes, because a page turns the value into a link: `javascript:` must never get that far.
_URL = re.compile(r"(?i:(?:https?|ftp)://[^\s/?#]|(?:mailto|tel):[^\s?#])\S*")
# Line breaks and tabs are text; the other control characters and lone surrogates break some JSON reader.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Option(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One choice of a select. Nodes hold the uuid, so that the name may be changed at any time."""

    uuid: str
    name: str
    indicator_id: str | None = None


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    id: str
    name: str
    type: str
    required: bool = False
    options: tuple[Option, ...] = ()

    # `dict=True` gives the frozen Structs a place for these indexes; the wire never sees it.
    @cached_property
    def option_uuids(self) -> frozenset[str]:
        return frozenset(option.uuid for option in self.options)


# Every node has a name, shown at the top of it; a template lists it only to call it something else.
NAME = Property("name", "Name", "text")


class NodeType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    id: str
    name: str
    allowed_children: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    description: str = ""

    @cached_property
    def _properties_by_id(self) -> dict[str, Property]:
        return {NAME.id: NAME} | {each.id: each for each in self.properties}

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(self.allowed_children)

    def property(self, property_id: str) -> Property:
        try:
            return self._properties_by_id[property_id]
        except KeyError:
            raise InvalidProperty(f"The type {self.id!r} has no property {property_id!r}") from None

    def allows(self, child_type_id: str) -> bool:
        return child_type_id in self._allowed

    def defaults(self) -> dict[str, str]:
        """What a new node holds before anyone chose: the first option of each select."""
        return {each.id: each.options[0].uuid for each in self.properties if each.type == "select"}


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The node types of one kind of project; the first of them is the type of a project's root."""

    template_id: str
    name: str
    description: str
    node_types: tuple[NodeType, ...]

    @cached_property
    def _types_by_id(self) -> dict[str, NodeType]:
        return {each.id: each for each in self.node_types}

    def __contains__(self, type_id: str) -> bool:
        return type_id in self._types_by_id

    def node_type(self, type_id: str) -> NodeType:
        try:
            return self._types_by_id[type_id]
        except KeyError:
            raise InvalidBlueprint(f"The template {self.template_id!r} has no type {type_id!r}") from None


# --- values ----------------------------------------------------------------------------------


def _is_text(_: Property, value: object) -> bool:
    return isinstance(value, str)


def _is_number(_: Property, value: object) -> bool:
    # To Python, True is the integer 1; to everyone who reads the JSON it is not.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(_: Property, value: object) -> bool:
    # The pattern first: fromisoformat alone takes week dates and 20260128 too.
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_checkbox(_: Property, value: object) -> bool:
    return isinstance(value, bool)


def _is_option(property: Property, value: object) -> bool:
    return isinstance(value, str) and value in property.option_uuids


def _is_uuid(_: Property, value: object) -> bool:
    return isinstance(value, str) and is_uuid(value)


def _is_url(_: Property, value: object) -> bool:
    return isinstance(value, str) and _URL.fullmatch(value) is not None


# Each type of property: what fits, and how to ask for it.
_KINDS: dict[str, tuple[Callable[[Property, object], bool], str]] = {
    "text": (_is_text, "text"),
    "markdown": (_is_text, "text (Markdown)"),
    "number": (_is_number, "a number"),
    "currency": (_is_number, "an amount of money, as a number"),
    "date": (_is_date, "a day of the calendar as text, YYYY-MM-DD"),
    "checkbox": (_is_checkbox, "true or false"),
    "select": (_is_option, "the uuid of one of its options"),
    "node_reference": (_is_uuid, "the id of a node: a UUID in lower-case text"),
    "url": (_is_url, "a whole address with http:, https:, ftp:, mailto: or tel: and no spaces"),
}
PROPERTY_TYPES = tuple(_KINDS)


def check(property: Property, value: object) -> None:
    """Raise InvalidValue unless `value` fits the type of `property`.

    value: never None, which unsets a property of any type. What JSON as such may hold (size,
           nesting, infinities) is checked before, alike for sessions with and without a template.
    A node_reference need not name a node of today: the node may be deleted, and restored by undo.
    """
    fits, wanted = _KINDS[property.type]
    if not fits(property, value):
        raise InvalidValue(f"The property {property.id!r} takes {wanted}")


# --- reading ---------------------------------------------------------------------------------


class TemplateError(Exception):
    """A template that cannot be used. Its reader is the person who wrote it.

    place: the way to the field, such as `node_types[2].properties[0].options[1].uuid`;
           `template` for the document as a whole.
    """

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"{place}: {problem}")


def parse(document: object) -> Template:
    """The template that `document`, made of dicts, lists and scalars, describes, or a TemplateError."""
    try:
        template = msgspec.convert(document, Template)
    except msgspec.ValidationError as error:
        raise _in_the_words_of_its_author(error) from None
    except UnicodeEncodeError:
        raise TemplateError("template", "the name of a field holds half a character (a surrogate)") from None
    if not _TEMPLATE_ID.fullmatch(template.template_id):
        raise TemplateError("template_id", f"should be 1-{ID_LENGTH_MAX} of A-Z a-z 0-9 . _ -")
    _check_name("name", template.name)
    _check_text("description", template.description)
    if not template.node_types:
        raise TemplateError("node_types", "is empty; the first type is that of a project's root")
    _check_ids("node_types", "id", [each.id for each in template.node_types])
    known = {each.id for each in template.node_types}
    for number, node_type in enumerate(template.node_types):
        _check_type(f"node_types[{number}]", node_type, known)
    return template


def _check_type(place: str, node_type: NodeType, known: set[str]) -> None:
    _check_name(f"{place}.name", node_type.name)
    _check_text(f"{place}.description", node_type.description)
    for number, child in enumerate(node_type.allowed_children):
        if child not in known:
            raise TemplateError(f"{place}.allowed_children[{number}]", f"no type has the id {child!r}")
    _check_ids(f"{place}.properties", "id", [each.id for each in node_type.properties])
    for number, each in enumerate(node_type.properties):
        _check_property(f"{place}.properties[{number}]", each)


def _check_property(place: str, property: Property) -> None:
    _check_name(f"{place}.name", property.name)
    if property.type not in _KINDS:
        kinds = ", ".join(PROPERTY_TYPES)
        raise TemplateError(f"{place}.type", f"there is no type {property.type!r}; there are {kinds}")
    if property.id == NAME.id and property.type != NAME.type:
        # `name` is a string in every session; another type here would make each rename a refusal.
        raise TemplateError(f"{place}.type", "the property 'name' is always text")
    if property.type == "select" and not property.options:
        raise TemplateError(f"{place}.options", "a select needs options; the first is what a new node has")
    if property.type != "select" and property.options:
        raise TemplateError(f"{place}.options", f"only a select has options, and this is {property.type!r}")
    _check_ids(f"{place}.options", "uuid", [option.uuid for option in property.options])
    for number, option in enumerate(property.options):
        option_place = f"{place}.options[{number}]"
        if not is_uuid(option.uuid):
            raise TemplateError(f"{option_place}.uuid", f"{option.uuid!r} is not a UUID in lower case")
        _check_name(f"{option_place}.name", option.name)
        if option.indicator_id is not None:
            _check_id(f"{option_place}.indicator_id", option.indicator_id)


def _check_ids(place: str, field: str, ids: list[str]) -> None:
    """Each a proper id, and none twice."""
    first: dict[str, int] = {}
    for number, each in enumerate(ids):
        _check_id(f"{place}[{number}].{field}", each)
        if each in first:
            raise TemplateError(f"{place}[{number}].{field}", f"{each!r} is taken by {place}[{first[each]}]")
        first[each] = number


def _check_id(place: str, text: str) -> None:
    if not 1 <= len(text) <= ID_LENGTH_MAX or not text.isprintable():
        raise TemplateError(place, f"should be 1-{ID_LENGTH_MAX} printable characters")
    if text in FORBIDDEN_IDS:
        raise TemplateError(place, f"{text!r} cannot be an id: JavaScript keeps it for itself")


def _check_name(place: str, text: str) -> None:
    _check_text(place, text)
    if not text.strip():
        raise TemplateError(place, "is empty")


def _check_text(place: str, text: str) -> None:
    if found := _NOT_TEXT.search(text):
        raise TemplateError(place, f"holds the character {found.group()!r}, which is no text")


_PLAIN_WORDS = {
    "str": "text",
    "str | null": "text",
    "array": "a list",
    "object": "a mapping of fields",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "date": "a date",
    "datetime": "a time",
}
# What YAML makes of bare words that were meant as text: 1966, no, 2026-01-28.
_QUOTABLE = frozenset({"bool", "int", "float", "date", "datetime"})


def _in_the_words_of_its_author(error: msgspec.ValidationError) -> TemplateError:
    """msgspec says "Expected `str`, got `int` - at `$.name`"; who writes YAML knows neither `str` nor `$`.

    A message of another form is passed on as it is: less pretty, never lost.
    """
    said, _, at = str(error).partition(" - at ")
    place = at.removeprefix("`key` in ").strip("`").removeprefix("$").removeprefix(".")
    if at.startswith("`key` in "):
        return TemplateError(place or "template", "the name of a field should be text")
    if match := re.fullmatch(r"Object missing required field `(.*)`", said):
        return TemplateError(f"{place}.{match[1]}".lstrip("."), "is missing")
    if match := re.fullmatch(r"(?s)Object contains unknown field `(.*)`", said):
        return TemplateError(place or "template", f"there is no field {match[1]!r} here; is it misspelt?")
    if match := re.fullmatch(r"Expected `(.*)`, got `(.*)`", said):
        wanted, got = match.groups()
        problem = f"should be {_PLAIN_WORDS.get(wanted, wanted)}, not {_PLAIN_WORDS.get(got, got)}"
        if wanted.startswith("str") and got in _QUOTABLE:
            problem += "; put it in quotes"
        return TemplateError(place or "template", problem)
    return TemplateError(place or "template", said)
