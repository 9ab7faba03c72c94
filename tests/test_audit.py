"""`make audit`: each of its rules catches a bad example, and the repository passes them all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from scripts import audit

ROOT = Path(__file__).parent.parent

BAD = {
    "pickle": "import pickle",
    "pickle under another name": "import pickle as p\np.loads(data)",
    "a function of pickle": "from pickle import loads",
    "_pickle": "import _pickle",
    "marshal": "import marshal",
    "shelve": "import shelve",
    "dill": "from dill import load",
    "eval": "eval(text)",
    "eval handed on": "run = eval",
    "eval of builtins": "import builtins\nbuiltins.eval(text)",
    "exec": "exec(text)",
    "compile": "compile(text, name, 'exec')",
    "__import__": "__import__(name)",
    "runpy": "import runpy",
    "os.system": "import os\nos.system(line)",
    "os.system by name": "from os import system",
    "os under another name": "import os as o\no.popen(line)",
    "a shell": "import subprocess\nsubprocess.run(line, shell=True)",
    "a shell, perhaps": "import subprocess\nsubprocess.Popen(line, shell=wanted)",
    "gevent's getoutput": "from gevent import subprocess\nsubprocess.getoutput(line)",
    "getoutput": "import subprocess\nsubprocess.getoutput(line)",
    "pty": "import pty",
    "yaml.load": "import yaml\nyaml.load(text)",
    "yaml.load by name": "from yaml import load\nload(text)",
    "yaml.load with Loader": "import yaml\nyaml.load(text, Loader=yaml.Loader)",
    "yaml.load with an unsafe one": "import yaml\nyaml.load_all(text, yaml.UnsafeLoader)",
    "yaml.load with an unknown one": "import yaml\nyaml.load(text, Loader=given)",
    "a loader of one's own": "import yaml\nclass Own(yaml.FullLoader): pass\nyaml.load(text, Own)",
    "yaml.full_load": "import yaml\nyaml.full_load(text)",
    "yaml.unsafe_load": "from yaml import unsafe_load",
    "cookies": "from http import cookies",
    "http.cookies": "import http.cookies",
    "a cookie that is set": "response.set_cookie('a', 'b')",
    "cookies that are read": "request.cookies.get('a')",
    "a cookie of Engine.IO": "Server(cookie='io')",
    "the header Set-Cookie": "headers = [('Set-Cookie', value)]",
    "the header Cookie": "environ['HTTP_COOKIE']",
    "mktemp": "import tempfile\ntempfile.mktemp()",
    "mktemp by name": "from tempfile import mktemp",
    "a file that stays": "import tempfile\ntempfile.NamedTemporaryFile(delete=False)",
    "a shared folder": "open('/tmp/talus.log')",
    "/var/tmp": "folder = '/var/tmp'",
}

GOOD = {
    "a pattern": "import re\nre.compile('a')",
    "a method of that name": "query.compile()\nstatement.exec(1)",
    "json": "import json\njson.loads(text)",
    "a program": "import subprocess\nsubprocess.run(['ls'], shell=False)",
    "a safe loader": "import yaml\nyaml.load(text, Loader=yaml.CSafeLoader)",
    "safe_load": "import yaml\nyaml.safe_load(text)",
    "a safe loader of one's own": "import yaml\nclass Own(yaml.SafeLoader): pass\nyaml.load(text, Own)",
    "a name of one's own": "code = response.status\ncode.upper()",
    "no cookie": "Server(cookie=None)",
    "words about cookies": "'no cookie is ever set'",
    "a temporary folder": "import tempfile\ntempfile.TemporaryDirectory()",
    "a path below another": "'data/tmp/x'",
    "a module of one's own": "from .code import run",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_must_not_stand_in_the_code_is_found(text: str) -> None:
    """Given code that breaks a rule, when it is read, then the line with it is named."""
    found = audit.in_text(text)
    assert found, text
    assert max(line for line, _ in found) == len(text.splitlines())


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_is_like_it_is_not_found(text: str) -> None:
    """Given code that only looks like it, when it is read, then nothing is said."""
    assert audit.in_text(text) == []


@pytest.mark.parametrize("name", audit.FORBIDDEN)
def test_a_forbidden_name_is_found_under_any_other(name: str) -> None:
    """Given a name of the table that is imported as another, when it is used, then both lines are named."""
    module, _, function = name.rpartition(".")
    imported = f"from {module} import {function} as innocent" if module else f"import {name} as innocent"
    assert [line for line, _ in audit.in_text(f"{imported}\ncall(innocent)")] == [1, 2]


def test_all_files_of_a_folder_are_read(tmp_path: Path) -> None:
    """Given a bad file below others, when the folder is read, then file and line are named."""
    (tmp_path / "talus/web").mkdir(parents=True)
    (tmp_path / "talus/good.py").write_text("import json\n")
    (tmp_path / "talus/web/bad.py").write_text("\n\nimport pickle\n")
    (found,) = audit.in_code(tmp_path / "talus")
    assert found.startswith("talus/web/bad.py:3: pickle")


@pytest.mark.parametrize(
    "requirement, says",
    [
        ("gevent >=23.9.0,<27", "gevent >=23.9.0 lets in"),
        ("Gevent ~=22.10", "gevent >=22.10 lets in"),
        ("gevent ==20.1", "gevent >=20.1 lets in"),
        ("gevent <27", "gevent has no lower bound"),
        ("gevent", "gevent has no lower bound"),
        ("flask >=3", "flask has no row"),
    ],
)
def test_a_requirement_that_lets_a_vulnerability_in_is_found(requirement: str, says: str) -> None:
    """Given a requirement below its floor, or without one, when it is compared, then it is named."""
    (found,) = audit.below_in_setup([Requirement(requirement)], {"gevent": "23.9.1"})
    assert says in found


@pytest.mark.parametrize("requirement", ["gevent >=23.9.1,<27", "gevent >=26.9", "msgspec >=0.1"])
def test_a_requirement_at_its_floor_passes(requirement: str) -> None:
    """Given a lower bound at the floor or above, when it is compared, then nothing is said."""
    assert list(audit.below_in_setup([Requirement(requirement)], {"gevent": "23.9.1", "msgspec": None})) == []


def test_an_installed_vulnerability_is_found() -> None:
    """Given an old release installed, when it is compared, then it is named, and no newer one."""
    floors = {"gevent": "23.9.1", "bottle": "0.12.20", "msgspec": None, "peewee": "1.0"}
    (found,) = audit.below_installed({"gevent": "23.9.0.post1", "bottle": "0.13", "msgspec": "0.1"}, floors)
    assert found.startswith("installed: gevent 23.9.0.post1")


def test_a_vulnerable_package_of_the_javascript_clients_is_found() -> None:
    """Given a lock with two releases of a package, when it is compared, then the old one is named."""
    packages = {
        "": {"name": "clients"},
        "node_modules/ws": {"version": "8.20.1"},
        "node_modules/a/node_modules/ws": {"version": "8.9.0"},
    }
    (found,) = audit.below_in_lock("clients", {"packages": packages}, {"ws": "8.20.1"})
    assert found.startswith("clients: ws 8.9.0")


def test_what_pip_audit_finds_is_told() -> None:
    """Given an answer of pip-audit with a vulnerability, when it is read, then it is named with its cure."""
    answer = {
        "dependencies": [
            {"name": "bottle", "version": "0.13.4", "vulns": []},
            {
                "name": "gevent",
                "version": "23.9.0",
                "vulns": [{"id": "PYSEC-2023-177", "fix_versions": ["23.9.1"]}],
            },
        ]
    }
    assert audit.read_pip_audit(json.dumps(answer), 2) == [
        "pip-audit: gevent 23.9.0 has PYSEC-2023-177, cured in 23.9.1"
    ]


@pytest.mark.parametrize(
    "answer",
    ["", "connection refused", "[]", '{"dependencies": [{"name": "bottle", "skip_reason": "not found"}]}'],
)
def test_a_silent_pip_audit_is_told_in_one_line(answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Given no answer, or one that looked nothing up, when it is read, then one line says so."""
    assert audit.read_pip_audit(answer, 1) == []
    (line,) = capsys.readouterr().out.splitlines()
    assert "floors" in line


def test_what_npm_audit_finds_is_told() -> None:
    """Given an answer of npm audit with a vulnerability, when it is read, then it is named."""
    answer = {"vulnerabilities": {"ws": {"range": "<8.20.1", "severity": "moderate"}}}
    assert audit.read_npm_audit(json.dumps(answer)) == ["npm audit: ws <8.20.1 (moderate)"]


@pytest.mark.parametrize("answer", ["", "npm error", '{"error": {"summary": "405"}}'])
def test_a_silent_npm_audit_is_told_in_one_line(answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Given no answer of npm audit, when it is read, then one line says that nobody knows."""
    assert audit.read_npm_audit(answer) == []
    (line,) = capsys.readouterr().out.splitlines()
    assert "floors" in line


def test_what_is_asked_about_is_what_talus_brings_along() -> None:
    """Given what is installed, when it is narrowed down, then requirements of requirements stay, pip goes."""
    installed = {
        "python-socketio": "5.18.1",
        "python-engineio": "4.15.1",
        "wsproto": "1.3.2",
        "pip": "23.2.1",
    }
    found = audit.needed([Requirement("python-socketio")], installed | {"simple-websocket": "1.1.0"})
    assert found.keys() == {"python-socketio", "python-engineio", "simple-websocket", "wsproto"}


def test_the_repository_passes() -> None:
    """Given this repository and what is installed, when the audit runs offline, then it finds nothing."""
    ended = run_audit(ROOT / "scripts/audit.py")
    assert (ended.returncode, ended.stdout) == (0, "audit: nothing found\n"), ended.stdout + ended.stderr


def test_a_finding_is_a_line_and_an_exit_code(tmp_path: Path) -> None:
    """Given one bad file and one low bound, when the audit runs, then it names both and ends with 1."""
    locks = [f"{folder}/package-lock.json" for folder in audit.NODE_FOLDERS]
    for name in ("scripts/audit.py", *locks):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires =\n    # why\n    bottle >=0.12\n")
    (tmp_path / "talus").mkdir(exist_ok=True)
    (tmp_path / "talus/bad.py").write_text("import shelve\n")
    ended = run_audit(tmp_path / "scripts/audit.py")
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.splitlines() == [
        "setup.cfg: bottle >=0.12 lets in what 0.12.20 cured",
        "talus/bad.py:1: shelve reads code as data",
        "audit: 2 found",
    ]


def run_audit(script: Path) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [sys.executable, script, "--offline"], capture_output=True, text=True, timeout=60, check=False
    )
