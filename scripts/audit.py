"""Known vulnerabilities in what talus is made of, and what must not stand in its code.

    python scripts/audit.py              ask pip-audit and npm audit too
    python scripts/audit.py --offline    only what needs no network

One line for each finding; the exit code is 0 when there is none. pip-audit and
npm audit need a service that has their data; where one cannot be had, a line
says so, and the tables below are what is left: for each package the first
release without a known vulnerability, compared with the lower bounds of
setup.cfg and with what is installed.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
NODE_FOLDERS = ("talus/page", "tests/clients", "scripts/bench/node")
SERVICE_TIMEOUT_S = 120.0

# The first release without a known vulnerability, and the youngest one that it cured; None where none was
# ever reported. What setup.cfg names has to be here. Last looked at in November 2026.
FLOORS: dict[str, str | None] = {
    "bottle": "0.12.20",  # CVE-2022-31799
    "certifi": "2024.7.4",  # CVE-2024-39689
    "gevent": "23.9.1",  # CVE-2023-41419
    "gevent-websocket": None,  # none reported; for what it lacks see docs/security.md
    "greenlet": None,
    "h11": "0.16.0",  # CVE-2025-43859
    "hypothesis": None,
    "idna": "3.15",  # CVE-2026-45409
    "import-linter": None,
    "msgspec": None,
    "mypy": None,
    "peewee": None,
    "playwright": "1.56.0",  # CVE-2025-59288
    "pyjwt": "2.15.0",  # CVE-2026-102275
    "pip-audit": None,
    "pytest": "9.0.3",  # CVE-2025-71176
    "python-engineio": "4.13.2",  # what a client that was not let in could make it keep
    "python-socketio": "5.16.2",  # CVE-2026-48804
    "pyyaml": "5.4",  # CVE-2020-14343
    "requests": "2.33.0",  # CVE-2026-25645
    "ruff": None,
    "schemathesis": None,
    "simple-websocket": None,
    "types-pyyaml": None,
    "urllib3": "2.7.0",  # CVE-2026-44431, CVE-2026-44432
    "websocket-client": None,
    "werkzeug": "3.1.6",  # CVE-2026-27199
    "wsproto": None,
    "zope-interface": None,
}
NODE_FLOORS = {
    "cookie": "0.7.0",  # CVE-2024-47764
    "engine.io": "6.4.2",  # CVE-2023-31125
    "esbuild": "0.25.0",  # GHSA-67mh-4wv8-2f99
    "linkify-it": "5.0.2",  # CVE-2026-59887
    "markdown-it": "14.1.1",  # CVE-2026-2327
    "preact": "10.28.2",  # CVE-2026-22028
    "socket.io": "4.6.2",  # CVE-2024-38355
    "socket.io-parser": "4.2.7",  # CVE-2026-69185
    "tough-cookie": "4.1.3",  # CVE-2023-26136
    "vite": "7.3.2",  # CVE-2026-39363
    "vitest": "3.2.6",  # CVE-2026-47429
    "ws": "8.20.1",  # CVE-2026-45736
}

# What a name may not stand for, and why.
FORBIDDEN = {
    "pickle": "reads code as data",
    "_pickle": "reads code as data",
    "cloudpickle": "reads code as data",
    "dill": "reads code as data",
    "marshal": "reads code as data",
    "shelve": "reads code as data",
    "jsonpickle": "reads code as data",
    "yaml.unsafe_load": "reads code as data",
    "yaml.unsafe_load_all": "reads code as data",
    "yaml.full_load": "reads code as data",
    "yaml.full_load_all": "reads code as data",
    "yaml.Loader": "reads code as data",
    "yaml.CLoader": "reads code as data",
    "yaml.FullLoader": "reads code as data",
    "yaml.CFullLoader": "reads code as data",
    "yaml.UnsafeLoader": "reads code as data",
    "yaml.CUnsafeLoader": "reads code as data",
    "builtins.eval": "runs text as code",
    "builtins.exec": "runs text as code",
    "builtins.compile": "runs text as code",
    "builtins.__import__": "runs text as code",
    "runpy": "runs text as code",
    "os.system": "starts a shell",
    "os.popen": "starts a shell",
    "subprocess.getoutput": "starts a shell",
    "subprocess.getstatusoutput": "starts a shell",
    "gevent.subprocess.getoutput": "starts a shell",
    "gevent.subprocess.getstatusoutput": "starts a shell",
    "asyncio.create_subprocess_shell": "starts a shell",
    "pty": "starts a shell",
    "http.cookies": "cookies: a browser sends them along for any page",
    "http.cookiejar": "cookies: a browser sends them along for any page",
    "tempfile.mktemp": "another may make that file first",
}
BUILTINS = {"eval", "exec", "compile", "__import__"}
COOKIES = {"set_cookie", "delete_cookie", "get_cookie", "cookies", "cookie"}
_COOKIE_HEADER = re.compile(r"(?i)(set-)?cookie2?|http_cookie")
_SHARED_FOLDER = re.compile(r"(/var|/private)?/tmp(/|$)")
SAFE_LOADERS = ("yaml.SafeLoader", "yaml.CSafeLoader")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Known vulnerabilities, and what must not stand in the code."
    )
    parser.add_argument("--offline", action="store_true", help="do not ask pip-audit and npm audit")
    offline = parser.parse_args(arguments).offline
    requirements = read_requirements(ROOT / "setup.cfg")
    installed = {canonicalize_name(each.name): each.version for each in metadata.distributions()}
    locks = {folder: json.loads((ROOT / folder / "package-lock.json").read_text()) for folder in NODE_FOLDERS}
    findings = [
        *below_in_setup(requirements, FLOORS),
        *below_installed(installed, FLOORS),
        *(each for folder, lock in locks.items() for each in below_in_lock(folder, lock, NODE_FLOORS)),
        *in_code(ROOT / "talus"),
    ]
    if not offline:
        findings += ask_pip_audit(needed(requirements, installed))
        findings += [each for folder in NODE_FOLDERS for each in ask_npm_audit(folder)]
    for finding in findings:
        print(finding)
    print(f"audit: {len(findings)} found" if findings else "audit: nothing found")
    return 1 if findings else 0


# -- packages --


def read_requirements(setup: Path) -> list[Requirement]:
    """What setup.cfg asks for, the extras included."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(setup.read_text())
    texts = [parser["options"]["install_requires"]]
    if parser.has_section("options.extras_require"):
        texts += parser["options.extras_require"].values()
    return [Requirement(line) for text in texts for line in text.splitlines() if line.strip()]


def below_in_setup(requirements: Iterable[Requirement], floors: dict[str, str | None]) -> Iterator[str]:
    """Requirements that let a release with a known vulnerability in."""
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name not in floors:
            yield f"setup.cfg: {name} has no row in the floors of scripts/audit.py"
            continue
        least = [
            Version(each.version) for each in requirement.specifier if each.operator in (">=", "==", "~=")
        ]
        floor = floors[name]
        if not least:
            yield f"setup.cfg: {name} has no lower bound"
        elif floor is not None and max(least) < Version(floor):
            yield f"setup.cfg: {name} >={max(least)} lets in what {floor} cured"


def below_installed(installed: dict[str, str], floors: dict[str, str | None]) -> Iterator[str]:
    """Packages that are installed and have a known vulnerability."""
    for name, floor in floors.items():
        if floor is not None and name in installed and Version(installed[name]) < Version(floor):
            yield f"installed: {name} {installed[name]} lacks what {floor} cured"


def below_in_lock(folder: str, lock: dict[str, Any], floors: dict[str, str]) -> Iterator[str]:
    """Packages of an npm lock that have a known vulnerability."""
    for place, package in lock["packages"].items():
        name = place.rpartition("node_modules/")[2]
        if name in floors and Version(package["version"]) < Version(floors[name]):
            yield f"{folder}: {name} {package['version']} lacks what {floors[name]} cured"


def needed(requirements: Iterable[Requirement], installed: dict[str, str]) -> dict[str, str]:
    """What these requirements brought along, by name: pip itself and the like are nobody's requirement."""
    found: dict[str, str] = {}
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or name not in installed:
            continue
        found[name] = installed[name]
        for text in metadata.requires(name) or []:
            further = Requirement(text)
            wanted = [{"extra": extra} for extra in ("", *requirement.extras)]
            if further.marker is None or any(further.marker.evaluate(each) for each in wanted):
                waiting.append(further)
    return found


def ask_pip_audit(packages: dict[str, str]) -> list[str]:
    """What pip-audit knows of these packages; a line on stdout where it knows nothing."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(packages.items())))
        said = _ask([*command, "--no-deps", "--disable-pip", "--requirement", str(pins)])
    return read_pip_audit(said, len(packages))


def read_pip_audit(said: str, asked: int) -> list[str]:
    """The findings in its answer. It calls a package that it could not look up no finding."""
    try:
        packages = json.loads(said)["dependencies"]
        known = [each for each in packages if "vulns" in each]
        findings = [
            f"pip-audit: {each['name']} {each['version']} has {vulnerability['id']}, "
            f"cured in {', '.join(vulnerability['fix_versions']) or 'none yet'}"
            for each in known
            for vulnerability in each["vulns"]
        ]
    except (ValueError, KeyError, TypeError):
        print("audit: pip-audit could not be asked; the floors are left")
        return []
    if len(known) < asked:
        print(
            f"audit: pip-audit has no data on {asked - len(known)} of {asked} packages; the floors are left"
        )
    return findings


def ask_npm_audit(folder: str) -> list[str]:
    """What npm knows of the packages of a lock; a line on stdout where it knows nothing."""
    npm = shutil.which("npm")
    return read_npm_audit(_ask([npm, "audit", "--prefix", str(ROOT / folder), "--json"]) if npm else "")


def read_npm_audit(said: str) -> list[str]:
    try:
        found = json.loads(said)["vulnerabilities"]
        return [f"npm audit: {name} {each['range']} ({each['severity']})" for name, each in found.items()]
    except (ValueError, KeyError, TypeError):
        print("audit: npm audit could not be asked; the floors are left")
        return []


def _ask(command: list[str]) -> str:
    """What a command prints; nothing where it cannot be run or takes too long."""
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SERVICE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout


# -- code --


def in_code(folder: Path) -> Iterator[str]:
    """What must not stand in the Python files of a folder."""
    for file in sorted(folder.rglob("*.py")):
        for line, what in in_text(file.read_text()):
            yield f"{file.relative_to(folder.parent)}:{line}: {what}"


def in_text(text: str) -> list[tuple[int, str]]:
    """(line, what is wrong there) for a Python text."""
    reader = _Reader()
    reader.visit(ast.parse(text))
    return sorted(reader.findings)


class _Reader(ast.NodeVisitor):
    """Walks a module, and knows what its names stand for."""

    def __init__(self) -> None:
        self.findings: set[tuple[int, str]] = set()
        self._names: dict[str, str] = {}  # of this module -> dotted, as imported
        self._safe = set(SAFE_LOADERS)

    def _found(self, node: ast.AST, what: str) -> None:
        self.findings.add((getattr(node, "lineno", 0), what))

    def _check(self, node: ast.AST, dotted: str) -> None:
        for name, why in FORBIDDEN.items():
            if dotted == name or dotted.startswith(name + "."):
                self._found(node, f"{name} {why}")

    def _dotted(self, node: ast.AST) -> str | None:
        """What `a.b.c` stands for, here a name of the module's own has a colon; None for anything else."""
        if isinstance(node, ast.Name):
            own = f"builtins.{node.id}" if node.id in BUILTINS else f":{node.id}"
            return self._names.get(node.id, own)
        if isinstance(node, ast.Attribute):
            before = self._dotted(node.value)
            return f"{before}.{node.attr}" if before else None
        return None

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check(node, alias.name)
            self._names[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            dotted = f"{module}.{alias.name}" if not module.endswith(".") else module + alias.name
            self._check(node, dotted)
            self._names[alias.asname or alias.name] = dotted

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(self._dotted(base) in self._safe for base in node.bases):
            self._safe.add(f":{node.name}")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._check(node, self._dotted(node) or "")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self._dotted(node)
        if dotted is not None:
            self._check(node, dotted)
        if node.attr in COOKIES:
            self._found(node, "cookies: a browser sends them along for any page")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            if _COOKIE_HEADER.fullmatch(node.value):
                self._found(node, "cookies: a browser sends them along for any page")
            if _SHARED_FOLDER.match(node.value):
                self._found(node, "a place that all users of the machine share")

    def visit_Call(self, node: ast.Call) -> None:
        called = self._dotted(node.func) or ""
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
            if keyword.arg == "shell" and value is not False:
                self._found(node, "shell= starts a shell")
            if keyword.arg == "cookie" and value is not None:
                self._found(node, "cookies: a browser sends them along for any page")
            if keyword.arg == "delete" and called.startswith("tempfile.") and value is False:
                self._found(node, "a temporary file that stays")
        if called in ("yaml.load", "yaml.load_all"):
            loaders = [each.value for each in node.keywords if each.arg == "Loader"] + node.args[1:2]
            if not loaders or self._dotted(loaders[0]) not in self._safe:
                self._found(node, f"{called} without a safe loader reads code as data")
        self.generic_visit(node)


if __name__ == "__main__":
    sys.exit(main())
