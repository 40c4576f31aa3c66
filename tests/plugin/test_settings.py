"""Where a setting comes from, and what is said about one that does not exist."""

from __future__ import annotations

import pytest

SHOWS = """
    import pytest

    def test_plain(tdpostback):
        print("plain", tdpostback.settings.profile, tdpostback.settings.explain)

    @pytest.mark.tdpostback(profile="v2-2.0.0")
    class TestMarked:
        def test_marked(self, tdpostback, make_tdpostback):
            print("marked", tdpostback.settings.profile)
            print("made", make_tdpostback(profile="openapi-1.0.0").settings.profile)

        @pytest.mark.tdpostback(profile="openapi-1.0.0", explain=True)
        def test_nearest(self, tdpostback):
            print("nearest", tdpostback.settings.profile, tdpostback.settings.explain)
"""


def test_the_nearest_setting_wins(downstream, pytester):
    pytester.makeini("[pytest]\ntdpostback_profile = article-2015\ntdpostback_explain = true")
    result = downstream(SHOWS, "-s")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "tdpostback: profile=article-2015, explain=True",
            "*plain article-2015 True",
            "*marked v2-2.0.0",
            "made openapi-1.0.0",
            "*nearest openapi-1.0.0 True",
        ]
    )
    result = downstream(SHOWS, "-s", "--tdpostback-profile=v2-2.0.0")
    result.stdout.fnmatch_lines(["*plain v2-2.0.0 True"])


def test_the_header_of_the_run_names_settings_only_if_some_are_set(downstream):
    downstream(SHOWS).stdout.no_fnmatch_line("tdpostback: *")


@pytest.mark.parametrize(
    ("arguments", "ini", "message"),
    [
        (
            ["--tdpostback-value-types=xml"],
            "",
            "--tdpostback-value-types: value_types='xml' is not valid; give one of json, string",
        ),
        (
            [],
            "tdpostback_profile = 2015",
            (
                "ini tdpostback_profile: profile='2015' is not valid; "
                "give one of openapi-1.0.0, article-2015, v2-2.0.0, ingestion-v1"
            ),
        ),
    ],
)
def test_a_wrong_option_is_a_usage_error(downstream, pytester, arguments, ini, message):
    pytester.makeini(f"[pytest]\n{ini}")
    result = downstream("def test_it(): pass", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            "profil='x'",
            "*'profil' is not a setting (did you mean profile?); valid settings: profile, *",
        ),
        ("profile='x'", "*profile='x' is not valid; give one of openapi-1.0.0, *"),
        ("'v2-2.0.0'", "*takes keyword arguments only, not ('v2-2.0.0',)"),
    ],
)
def test_a_wrong_marker_is_an_error_even_where_nobody_looks(downstream, marker, message):
    source = f"""
        import pytest

        @pytest.mark.tdpostback({marker})
        def test_it(): pass
    """
    result = downstream(source, "--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"test_it.py::test_it: @pytest.mark.tdpostback{message}"])
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_a_wrong_argument_of_the_factory_points_at_the_test(downstream):
    result = downstream("def test_it(make_tdpostback):\n    make_tdpostback(max_body=0)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       make_tdpostback(max_body=0)",
            "E       *ConfigurationError: make_tdpostback(...): max_body=0 is not valid; give a *",
            "test_it.py:2: ConfigurationError",
        ]
    )
    result.stdout.no_fnmatch_line("*settings.py*")
