"""Under tox, the tests run on the wheel and not on the checkout beside it."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

import pytest_tdpostback.plugin


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="tox installs the wheel")
def test_the_installed_package_is_tested():
    for module in (pytest_tdpostback, pytest_tdpostback.plugin):
        assert module.__file__ is not None
        assert Path(module.__file__).is_relative_to(sysconfig.get_path("purelib"))
