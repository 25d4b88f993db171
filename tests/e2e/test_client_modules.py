"""The browser client's pure modules, tested where they run without a browser: under Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
TESTS = sorted((Path(__file__).parent / "client").glob("*.test.mjs"))


@pytest.mark.skipif(NODE is None, reason="the client's module tests need Node.js, which is not installed")
@pytest.mark.parametrize("file", TESTS, ids=[file.name.removesuffix(".test.mjs") for file in TESTS])
def test_the_module_does_what_its_tests_say(file: Path) -> None:
    assert NODE is not None
    run = subprocess.run([NODE, "--test", str(file)], capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
