"""The built distributions, and an environment with nothing but the wheel and what it needs."""

from __future__ import annotations

import os
import sys

import pytest

from tests.checkout import ROOT, run


@pytest.fixture(scope="session")
def distributions(tmp_path_factory):
    """The folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def sdist(distributions):
    (path,) = distributions.glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def unpacked(sdist, tmp_path_factory):
    """The source distribution, unpacked: a checkout without git."""
    folder = tmp_path_factory.mktemp("unpacked")
    run("tar", "xf", sdist, cwd=folder)
    (checkout,) = folder.iterdir()
    return checkout


@pytest.fixture(scope="session")
def scripts(wheel, tmp_path_factory):
    """The folder of programs of an environment into which only the wheel was installed."""
    folder = tmp_path_factory.mktemp("fresh")
    run(
        sys.executable,
        "-m",
        "uv",
        "venv",
        "--allow-existing",
        "--python",
        sys.executable,
        folder,
        cwd=folder,
    )
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    run(sys.executable, "-m", "uv", "pip", "install", "--python", python, wheel, cwd=folder)
    return scripts
