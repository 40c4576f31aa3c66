"""Layer 4: the rules as checks of any endpoint, over HTTP alone.

`pytest --pyargs pytest_tdpostback.conformance --tdpostback-target URL --tdpostback-key KEY` runs
them. `catalogue.checks_of` lists them.
"""

import pytest

# The checks assert there, too; with `python -O`, only what pytest rewrites keeps its asserts.
pytest.register_assert_rewrite(f"{__name__}.inspection")
