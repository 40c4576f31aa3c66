"""Floor 4: the proof. The rules as checks of any endpoint, over HTTP alone.

`pytest --pyargs pytest_tdpostback.conformance --tdpostback-target URL --tdpostback-key KEY` runs
them; `catalogue.checks_of` says which there are.
"""
