"""The reference leaves nothing out."""

from __future__ import annotations

import re

from pytest_tdpostback.protocol.settings import SETTINGS
from tests.checkout import ROOT

PAGE = ROOT.joinpath("docs", "reference.md").read_text(encoding="utf-8")


def test_the_table_of_settings_names_exactly_the_settings():
    section = PAGE.partition("\n## Settings\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert named == list(SETTINGS)
