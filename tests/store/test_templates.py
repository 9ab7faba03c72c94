"""Template files: those that come along are good, and a broken one costs one line of the log."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

import talus
from talus.core.template import PROPERTY_TYPES, Template, parse
from talus.store.templates import DEPTH_MAX, FILE_BYTES_MAX, bundled, load

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = REPOSITORY / "docs" / "templates.md"

SMALL = """\
template_id: {0}
name: Small
description: A small one
node_types:
  - id: thing
    name: Thing
"""


def written(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        folder.joinpath(f"{name}.yaml").write_bytes(data)
    return folder


# --- those that come along -------------------------------------------------------------------


def bundled_templates() -> dict[str, Template]:
    lines: list[str] = []
    templates = load([bundled()], lines.append)
    assert lines == []
    return templates


def selects() -> list[tuple[str, list[tuple[str, str | None]]]]:
    return [
        (
            f"{template.template_id}/{node_type.id}/{each.id}",
            [(option.name, option.indicator_id) for option in each.options],
        )
        for template in bundled_templates().values()
        for node_type in template.node_types
        for each in node_type.properties
        if each.type == "select"
    ]


def test_the_three_templates_come_along():
    templates = bundled_templates()
    assert {each: template.node_types[0].id for each, template in templates.items()} == {
        "restomod": "vehicle",
        "software-release": "release",
        "workshop-build": "build",
    }


@pytest.mark.parametrize("select, options", selects())
def test_every_select_starts_where_nothing_has_happened_yet(select, options):
    """A select that shows progress starts empty, another one without a claim."""
    name, indicator = options[0]
    if any(mark for _, mark in options):
        assert indicator == "empty"
    else:
        assert name in ("Not decided", "Not assessed")


@pytest.mark.parametrize("select, options", selects())
def test_the_indicators_are_one_small_vocabulary(select, options):
    assert {mark for _, mark in options} <= {"empty", "half", "done", "blocked", None}
    if select.endswith("/status"):
        assert {"empty", "done"} <= {mark for _, mark in options}


def test_option_uuids_are_real_ones_and_used_once():
    uuids = [
        option.uuid
        for template in bundled_templates().values()
        for node_type in template.node_types
        for each in node_type.properties
        for option in each.options
    ]
    assert len(set(uuids)) == len(uuids)
    assert {uuid.UUID(each).version for each in uuids} == {4}


@pytest.mark.parametrize("template_id", ["restomod", "software-release", "workshop-build"])
def test_every_type_can_be_reached_from_the_root_and_says_what_it_is_for(template_id):
    template = bundled_templates()[template_id]
    reached: set[str] = set()
    ahead = [template.node_types[0].id]
    while ahead:
        if (each := ahead.pop()) not in reached:
            reached.add(each)
            ahead += template.node_type(each).allowed_children
    assert reached == {each.id for each in template.node_types}
    assert template.description and all(each.description for each in template.node_types)


def test_the_bundled_templates_use_every_type_of_property():
    used = {
        each.type
        for template in bundled_templates().values()
        for node_type in template.node_types
        for each in node_type.properties
    }
    assert used == set(PROPERTY_TYPES)


def test_the_bundled_templates_survive_the_way_through_json():
    for template in bundled_templates().values():
        assert parse(json.loads(msgspec.json.encode(template))) == template


def test_in_a_checkout_the_templates_stand_beside_the_package():
    assert bundled() == REPOSITORY / "data" / "templates"


def test_once_installed_the_templates_stand_inside_the_package(tmp_path):
    """A copy laid out like the wheel, with a decoy beside it; asked in a process of its own."""
    package = tmp_path / "site-packages" / "talus"
    unwanted = shutil.ignore_patterns("__pycache__", "page", "service", "web")
    shutil.copytree(Path(talus.__file__).parent, package, ignore=unwanted)
    shutil.copytree(bundled(), package / "data" / "templates")
    (tmp_path / "site-packages" / "data" / "templates").mkdir(parents=True)
    asked = subprocess.run(
        [sys.executable, "-c", "from talus.store.templates import bundled; print(bundled())"],
        cwd=package.parent,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == str(package / "data" / "templates")


# --- the guide -------------------------------------------------------------------------------


def test_the_example_of_the_guide_loads(tmp_path):
    example = re.search(r"^```yaml\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert example is not None
    lines: list[str] = []
    templates = load([written(tmp_path, example=example[1])], lines.append)
    assert lines == []
    assert [each.id for each in templates["moving-house"].node_types] == ["move", "room", "box", "errand"]


def test_the_guide_names_every_type_of_property():
    named = re.findall(r"^\| `(\w+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(named) == PROPERTY_TYPES


# --- folders ---------------------------------------------------------------------------------


def test_folders_are_read_in_order_and_files_by_name(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("b.yaml", "a.yml", "c.yaml", "d.txt", "e.yaml.bak", ".f.yaml"):
        (tmp_path / "one" / name).write_text(SMALL.format(f"one-{name[0]}"))
    written(tmp_path / "two", a=SMALL.format("two-a"))
    lines: list[str] = []
    templates = load([tmp_path / "two", tmp_path / "one"], lines.append)
    assert list(templates) == ["two-a", "one-a", "one-b", "one-c"]
    assert lines == []


def test_the_earlier_of_two_files_keeps_the_template_id(tmp_path):
    mine = written(tmp_path, a=SMALL.format("restomod"), b=SMALL.format("mine"))
    lines: list[str] = []
    templates = load([bundled(), mine], lines.append)
    assert templates["restomod"].node_types[0].id == "vehicle"
    assert templates["mine"].name == "Small"
    assert lines == [f"{mine}/a.yaml: template_id: 'restomod' is taken by {bundled()}/restomod.yaml"]


def test_a_broken_file_does_not_take_the_template_id_with_it(tmp_path):
    written(tmp_path, a=SMALL.format("x") + "    color: red\n", b=SMALL.format("x"))
    lines: list[str] = []
    assert list(load([tmp_path], lines.append)) == ["x"]
    assert len(lines) == 1 and lines[0].startswith(f"{tmp_path}/a.yaml: node_types[0]: ")


def test_a_folder_that_is_not_there_is_one_line_too(tmp_path):
    lines: list[str] = []
    assert load([tmp_path / "nowhere", written(tmp_path, a=SMALL.format("x"))], lines.append).keys() == {"x"}
    assert lines == [f"{tmp_path}/nowhere: folder: cannot be read: No such file or directory"]


def test_a_logger_will_do_as_well(tmp_path, caplog):
    written(tmp_path, a="100%s: [\n")
    with caplog.at_level(logging.WARNING, logger="talus.test"):
        load([tmp_path], logging.getLogger("talus.test"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith(f"{tmp_path}/a.yaml: line 2, column 1: ")


# --- broken files ----------------------------------------------------------------------------

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
OPTION = "4f2c1c52-7c3e-4d57-9d2a-5b8a0a6f3c77"


@pytest.mark.parametrize(
    "content, said",
    [
        # YAML itself
        ("a: b: c\n", "line 1, column 5: mapping values are not allowed"),
        ("name: x\nnode_types: [a, b\n", "line 3, column 1: "),
        ("name: x\n\tdescription: y\n", "line 2, column 1: "),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: "),
        ("name: x\nname: y\n", "line 2, column 1: 'name' stands twice in one mapping"),
        ("node_types:\n  - {id: a, name: b, id: c}\n", "line 2, column 22: 'id' stands twice in one mapping"),
        ("? [1]\n: x\n", "line 1, column 3: found unhashable key"),
        ("name: =\n", "line 1, column 7: could not determine a constructor"),
        ("name: 2024-13-45\n", "line 1, column 7: '2024-13-45' looks like a number or a date and is none"),
        (f"name: {'9' * 5000}\n", f"line 1, column 7: '{'9' * 40}' looks like a number"),
        ("name: a\nx: \x07\n", "line 2: a character that YAML does not allow"),
        ('name: "\\ud800"\n', "line 1, column 10: found invalid Unicode character escape code"),
        (b"name: a\nx: \xff\n", "line 2: is not UTF-8"),
        ("name: a\n".encode("utf-16"), "line 1: is not UTF-8"),
        # what templates do without
        ("name: &n x\ndescription: *n\n", "line 1, column 7: anchors (&name) and aliases"),
        ("node_types: &n [x]\n", "line 1, column 13: anchors (&name) and aliases"),
        ("node_types: &n {}\n", "line 1, column 13: anchors (&name) and aliases"),
        ("name: *n\n", "line 1, column 7: anchors (&name) and aliases"),
        (BOMB, "line 1, column 5: anchors (&name) and aliases"),
        ("name: !!python/object/apply:os.getcwd []\n", "line 1, column 7: tags (!name) are not taken"),
        ("name: !!bool maybe\n", "line 1, column 7: tags (!name) are not taken"),
        ("[" * 900, f"line 1, column {DEPTH_MAX + 2}: is nested more than {DEPTH_MAX} deep"),
        ("[" * 900_000, "nest"),  # newer parsers look ahead, and say it in words of their own
        ("{a: " * 200_000, f"is nested more than {DEPTH_MAX} deep"),
        ("- " * 400_000, f"is nested more than {DEPTH_MAX} deep"),
        ("x" * (FILE_BYTES_MAX + 1), "file: is larger than 1 MiB"),
        # the template
        ("", "template: should be a mapping of fields, not nothing"),
        ("- a\n", "template: should be a mapping of fields, not a list"),
        (SMALL.format("a b"), "template_id: should be 1-128 of"),
        (SMALL.format("x").replace("Small", "1966"), "name: should be text, not a number; put it in quotes"),
        (
            SMALL.format("x").replace("Small", "2026-01-28"),
            "name: should be text, not a date; put it in quotes",
        ),
        (
            SMALL.format("x").replace("Small", "no"),
            "name: should be text, not true or false; put it in quotes",
        ),
        (
            SMALL.format("x") + "    properties:\n"
            "      - {id: s, name: S, type: select, options: "
            f"[{{uuid: {OPTION}, name: A}}, {{uuid: b, name: B}}]}}\n",
            "node_types[0].properties[0].options[1].uuid: 'b' is not a UUID in lower case",
        ),
        (SMALL.format('"x\\nfile: all is well"'), "template_id: should be"),
        (SMALL.format("x") + '    "co\\nlor": red\n', "node_types[0]: there is no field 'co\\nlor' here"),
    ],
)
def test_a_broken_file_is_one_line_and_the_others_work(tmp_path, content, said):
    written(tmp_path, a=SMALL.format("before"), b=content, c=SMALL.format("after"))
    lines: list[str] = []
    assert list(load([tmp_path], lines.append)) == ["before", "after"]
    [line] = lines
    assert line.startswith(f"{tmp_path}/b.yaml: ")
    assert said in line
    assert line.isprintable() and len(line) < 500


def test_the_largest_file_is_taken(tmp_path):
    small = SMALL.format("x")
    written(tmp_path, a=small + "#" * (FILE_BYTES_MAX - len(small)))
    assert load([tmp_path], pytest.fail).keys() == {"x"}


def test_a_byte_order_mark_is_no_fault(tmp_path):
    written(tmp_path, a=b"\xef\xbb\xbf" + SMALL.format("x").encode())
    assert load([tmp_path], pytest.fail).keys() == {"x"}


def test_what_is_no_file_is_left_out_and_nobody_waits_for_it(tmp_path):
    (tmp_path / "a.yaml").mkdir()
    os.mkfifo(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").symlink_to(tmp_path / "gone")
    written(tmp_path, d=SMALL.format("x"))
    lines: list[str] = []
    assert load([tmp_path], lines.append).keys() == {"x"}
    assert lines == [f"{tmp_path}/{name}.yaml: file: is not a file" for name in "abc"]


def test_a_file_that_may_not_be_read_is_left_out(tmp_path):
    written(tmp_path, a=SMALL.format("a"), b=SMALL.format("b"))
    (tmp_path / "a.yaml").chmod(0)
    if os.access(tmp_path / "a.yaml", os.R_OK):
        pytest.skip("this user may read everything")
    lines: list[str] = []
    assert load([tmp_path], lines.append).keys() == {"b"}
    assert lines == [f"{tmp_path}/a.yaml: file: cannot be read: Permission denied"]


def test_a_file_name_cannot_forge_a_line_of_the_log(tmp_path):
    (tmp_path / "a\nall is well: .yaml").write_text("[")
    lines: list[str] = []
    load([tmp_path], lines.append)
    assert lines[0].startswith(f"{tmp_path}/a\\nall is well: .yaml: line ")


def test_without_libyaml_the_same_files_are_read_and_refused(tmp_path):
    """PyYAML is built without it on some machines; words may differ, what is taken may not."""
    written(
        tmp_path, a=SMALL.format("a"), b="[" * 100_000, c=BOMB, d='"\\ud800": x', e="x: \x07", f="a: 1\na: 2"
    )
    program = (
        "import sys, yaml; from pathlib import Path\n"
        "if hasattr(yaml, 'CSafeLoader'): del yaml.CSafeLoader\n"
        "from talus.store.templates import bundled, load\n"
        "print(*load([bundled(), Path(sys.argv[1])], lambda line: print(line, file=sys.stderr)))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.split() == ["restomod", "software-release", "workshop-build", "a"]
    assert [Path(line.split(": ")[0]).stem for line in asked.stderr.splitlines()] == ["b", "c", "d", "e", "f"]
