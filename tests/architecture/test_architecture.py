"""The shape of the code, held by tests: who may import whom, how long a file may be, where state and settings live.

``lint-imports`` holds the rooms' contracts (pyproject.toml); the rest is read from the syntax trees of the rooms.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("server", "agents", "audio", "metering")
MOST_LINES = 400
LONG_FILES = {
    "tests/agents/test_dialogues.py": "one conversation after the other, each short; together they are the catalogue",
    "tests/audio/test_playout.py": "the ledger's rules, one test each, and its model check",
    "tests/metering/test_usage_forwarder.py": "every way a disk or a ledger may fail, one test each",
}
HEAVY = ("numpy", "starlette", "pydantic", "openai", "av", "onnxruntime", "ctranslate2", "uvicorn", "rich", "asyncio")
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter"}


def files(*directories: str) -> list[Path]:
    return sorted(path for directory in directories for path in (ROOT / directory).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


PRODUCT = files(*ROOMS)


def test_the_rooms_import_only_whom_they_may() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout
    for contract in ("server -> agents -> (audio | metering)", "GPL code is never imported by the core"):
        assert f"{contract} KEPT" in done.stdout


def test_no_file_is_long_without_a_reason() -> None:
    long = {name_of(path) for path in files(*ROOMS, "tests") if len(path.read_text().splitlines()) > MOST_LINES}
    assert long == set(LONG_FILES), "list it with a reason, or split it; and take out what is no longer long"


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_says_what_it_owns(room: str) -> None:
    silent = [name_of(path) for path in files(room) if not (ast.get_docstring(tree(path)) or "").strip()]
    assert silent == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_package_is_one(room: str) -> None:
    lost = {name_of(path.parent) for path in files(room) if not (path.parent / "__init__.py").is_file()}
    assert lost == set()


# --- state ---


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        function = value.func
        called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        return called in MUTABLE_CALLS
    return isinstance(value, MUTABLE)


def module_state(module: ast.Module) -> Iterator[str]:
    """Names at module level that hold something mutable and are not written as constants."""
    for statement in module.body:
        match statement:
            case ast.Assign(targets=targets, value=value) if is_mutable(value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value) if is_mutable(value):
                names = [] if ast.unparse(annotation).startswith("Final") else [name]
            case _:
                continue
        yield from (name for name in names if name.strip("_").upper() != name.strip("_"))


def test_no_module_holds_state() -> None:
    found = [f"{name_of(path)}: {name}" for path in PRODUCT for name in module_state(tree(path)) if name != "__all__"]
    assert found == []


def test_no_function_writes_a_global() -> None:
    writers = [
        f"{name_of(path)}:{node.lineno}"
        for path in PRODUCT
        for node in ast.walk(tree(path))
        if type(node) is ast.Global
    ]
    assert writers == []


def test_state_is_told_from_constants() -> None:
    """The check above is only worth something if it finds what it looks for."""
    source = "cache = {}\nseen: set[str] = set()\nTABLE = {}\nknown: Final = []\nqueue = collections.deque()\n"
    assert list(module_state(ast.parse(source))) == ["cache", "seen", "queue"]


# --- settings ---


def reads_environment(module: ast.Module) -> bool:
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv"):
                return True
            case ast.ImportFrom(module="os", names=names) if {"environ", "getenv"} & {name.name for name in names}:
                return True
            case _:
                continue
    return False


def test_only_the_settings_read_the_environment() -> None:
    readers = [name_of(path) for path in PRODUCT if reads_environment(tree(path))]
    assert readers == ["server/settings.py"]


# --- imports ---


def imported(module: ast.Module) -> Iterator[str]:
    """The top-level packages a module names in an import, wherever it stands and however it is written."""
    for node in ast.walk(module):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name.partition(".")[0]
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name.partition(".")[0]
            case _:
                continue


def test_gpl_and_borrowed_packages_are_imported_by_nobody() -> None:
    """Not even inside a function. The phonemizer's own process loads one native file of ``piper-tts`` by its path."""
    assert [name_of(path) for path in PRODUCT if {"piper", "pipecat"} & set(imported(tree(path)))] == []
    assert set(imported(ast.parse("def f():\n import piper.x\n import_module('pipecat.y')"))) == {"piper", "pipecat"}


def test_no_room_imports_the_tests() -> None:
    packages = {"tests", "pytest", "hypothesis"}
    assert [name_of(path) for path in PRODUCT if packages & set(imported(tree(path)))] == []


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded after ``code``."""
    code += "; import json, sys; print(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [None, ["--help"], ["--version"]])
def test_the_command_line_answers_without_loading_anything_heavy(arguments: list[str] | None) -> None:
    run = "" if arguments is None else f"; assert server.cli.main.run({arguments}) == 0"
    loaded = modules_after(f"import server.cli.main{run}")
    assert "server.cli.main" in loaded
    assert loaded & set(HEAVY) == set()
