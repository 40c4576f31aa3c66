"""Options as people write them."""

from __future__ import annotations

import pytest

from tests.checkout import INSIDE


@pytest.mark.parametrize(
    "options",
    [
        ["--tdpostback-value-types=string", "--tdpostback-explain"],
        ["--tdpostback-value_types=string", "--tdpostback-explain=true"],
    ],
)
def test_options_are_spelled_with_hyphens_or_underscores(pytester, options):
    pytester.makepyfile(
        """
        def test_settings(tdpostback):
            assert tdpostback.settings.value_types == "string"
            assert tdpostback.settings.explain is True
        """
    )
    pytester.runpytest_inprocess(*options, *INSIDE).assert_outcomes(passed=1)
