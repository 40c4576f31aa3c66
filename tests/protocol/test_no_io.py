"""The protocol floor does no I/O: what it imports cannot."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from pytest_tdpostback import protocol

BANNED = {
    *("_socket", "_ssl", "asyncio", "http", "httptools", "multiprocessing", "pytest"),
    *("pytest_httpserver", "requests", "select", "selectors", "socket", "ssl", "subprocess"),
    *("threading", "urllib.request", "werkzeug"),
}
MODULES = [module.name for module in pkgutil.iter_modules(protocol.__path__)]


@pytest.mark.once
@pytest.mark.parametrize("module", [*MODULES, "*"])
def test_imports(module):
    """Importing it loads nothing of the banned, nor of any floor above."""
    modules = MODULES if module == "*" else [module]
    program = "import sys; before = set(sys.modules)\n"
    program += "".join(f"import pytest_tdpostback.protocol.{name}\n" for name in modules)
    program += "print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = done.stdout.split()
    floors = [name for name in loaded if name.startswith("pytest_tdpostback.")]
    assert not BANNED & set(loaded)
    assert all(name.split(".")[1] in ("protocol", "errors") for name in floors)
