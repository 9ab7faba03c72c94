"""The templates on disk: YAML files, written by hand, read once when the server starts.

One broken file must not keep the server down or take the other templates with it, and whoever
wrote it has only the log to go by: so every refusal here is one line that says where and what.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from talus.core.template import Template, TemplateError, parse

try:
    from yaml import CSafeLoader as _SafeLoader  # the one with libyaml: about ten times as fast
except ImportError:  # a PyYAML built without it reads the same files
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

FILE_BYTES_MAX = 1024 * 1024
# A template needs 7. PyYAML recurses into what it reads, in C too, where too deep ends the process.
DEPTH_MAX = 32


def bundled() -> Path:
    """The folder of the templates that come with talus.

    The wheel and the binary carry it inside the package; a checkout has it beside the package,
    where people look for data.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "data" / "templates"
    return inside if inside.is_dir() else package.parent / "data" / "templates"


def load(folders: Sequence[Path], log: Callable[[str], None] | logging.Logger) -> dict[str, Template]:
    """Every usable template of the folders by its id, in the order of folders and file names.

    log: gets one line for each file (or folder) that was left out, `file: place: what is wrong`.
    Of two files with one template_id the earlier stands: a folder of one's own adds to what comes
    along, and never replaces it unseen.
    """
    say = log.warning if isinstance(log, logging.Logger) else log
    templates: dict[str, Template] = {}
    came_from: dict[str, Path] = {}
    for file in _files(folders, say):
        try:
            template = parse(_read(file))
            if earlier := came_from.get(template.template_id):
                raise TemplateError("template_id", f"{template.template_id!r} is taken by {earlier}")
        except TemplateError as error:
            say(_one_line(f"{file}: {error.place}: {error.problem}"))
            continue
        templates[template.template_id] = template
        came_from[template.template_id] = file
    return templates


def _files(folders: Sequence[Path], say: Callable[[str], None]) -> Iterator[Path]:
    for folder in folders:
        try:
            found = sorted(each for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
        except OSError as error:
            say(_one_line(f"{folder}: folder: cannot be read: {error.strerror}"))
            continue
        # A name with a dot in front is an editor's or a file system's own copy, not a template.
        yield from (each for each in found if not each.name.startswith("."))


def _one_line(text: str) -> str:
    """File names and YAML may hold line breaks; a log in which they can forge a line is worth little."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


# --- one file --------------------------------------------------------------------------------


class _Loader(_SafeLoader):
    """The safe loader, which also refuses what it would otherwise pass over in silence."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError):
            # The 45th of January, say: a date to YAML's patterns and none to Python.
            problem = f"{node.value[:40]!r} looks like a number or a date and is none; put it in quotes"
            raise TemplateError(_place(node.start_mark), problem) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    # PyYAML keeps the last one; a property would vanish and nobody would know why.
                    raise TemplateError(_place(key.start_mark), f"{key.value!r} stands twice in one mapping")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> object:
    text = _text(file)
    try:
        _refuse_what_templates_do_not_need(text)
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(filter(None, (error.problem, error.context)))
        raise TemplateError(_place(error.problem_mark or error.context_mark), problem) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TemplateError(f"line {line}", f"a character that YAML does not allow: {error.reason}") from None


def _text(file: Path) -> str:
    try:
        # Only plain files: opening a named pipe would wait for its writer, and the server with it.
        if not file.is_file():
            raise TemplateError("file", "is not a file")
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise TemplateError("file", f"cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise TemplateError("file", "is larger than 1 MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TemplateError(f"line {line}", "is not UTF-8; save the file as UTF-8") from None


def _refuse_what_templates_do_not_need(text: str) -> None:
    """Anchors, aliases, tags and great depth, before anything is built of them.

    Nine lines of aliases to aliases make a billion values; refusing all of them is a rule that
    can be said in one sentence. A pass over the events keeps nothing in memory.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if getattr(event, "anchor", None) is not None:  # an alias names its anchor
            problem = "anchors (&name) and aliases (*name) are not taken; write it out"
        elif getattr(event, "tag", None) is not None:
            problem = "tags (!name) are not taken; write the plain value"
        elif depth > DEPTH_MAX:
            problem = f"is nested more than {DEPTH_MAX} deep"
        else:
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        raise TemplateError(_place(event.start_mark), problem)


def _place(mark: Any) -> str:
    """Where an editor finds it: YAML counts from 0, people from 1."""
    return f"line {mark.line + 1}, column {mark.column + 1}"
