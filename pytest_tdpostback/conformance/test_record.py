"""Checks of the rules of the record (V1 to V3, T1 to T7, C1 to C3); no response shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import MARK, Endpoint

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import InspectionClient

NOW = 1_700_000_000
DAY = 86_400
OLDEST, NEWEST = NOW - 7 * DAY, NOW + 3 * DAY
VALUES: dict[str, Any] = {
    "number": 1234,
    "large": 12345678901234567890,
    "fraction": 1.5,
    "text": "value1",
    "yes": True,
    "nothing": None,
    "list": [1, "a"],
    "object": {"a": {"b": 1}},
}


@checks("V1")
def test_object_is_one_row(target: Endpoint, inspection: InspectionClient) -> None:
    before = len(inspection.records(target.database, target.table))
    target.post({"events": [{"a": 1}, {"a": 2}]})
    record = inspection.record()
    assert record["events"] == [{"a": 1}, {"a": 2}]
    assert record.keys() == {"time", MARK, "events"}
    assert len(inspection.records(target.database, target.table)) == before + 1


@checks("V2")
def test_values_keep_their_types(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.configure(value_types="json")
    target.post(VALUES)
    record = inspection.record()
    stored = {name: record[name] for name in VALUES}
    assert stored == VALUES
    assert [*map(type, stored.values())] == [*map(type, VALUES.values())]


@checks("V3")
def test_values_may_become_strings(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.configure(value_types="string")
    target.post(VALUES)
    record = inspection.record()
    assert {name: record[name] for name in VALUES} == {
        "number": "1234",
        "large": "12345678901234567890",
        "fraction": "1.5",
        "text": "value1",
        "yes": "true",
        "nothing": None,
        "list": '[1,"a"]',
        "object": '{"a":{"b":1}}',
    }


@checks("T1")
def test_time_is_the_moment_of_receipt(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.freeze(NOW)
    target.post()
    assert int(inspection.record()["time"]) == NOW


@checks("T2")
@pytest.mark.parametrize("value", [NOW - 60, str(NOW - 60)], ids=["number", "text"])
def test_record_time_is_the_time(
    target: Endpoint, inspection: InspectionClient, value: object
) -> None:
    inspection.freeze(NOW)
    target.post({"td_record_time": value})
    record = inspection.record()
    assert int(record["time"]) == NOW - 60
    assert "td_record_time" not in record


@checks("T3")
@pytest.mark.parametrize("value", [OLDEST - 1, NEWEST + 1], ids=["older", "newer"])
def test_time_outside_the_window_is_ignored(
    target: Endpoint, inspection: InspectionClient, value: int
) -> None:
    inspection.freeze(NOW)
    inspection.configure(stale_time="receipt")
    target.post({"td_record_time": value})
    assert int(inspection.finding("T3")["record"]["time"]) == NOW


@checks("T3")
@pytest.mark.parametrize("value", [OLDEST - 1, NEWEST + 1], ids=["older", "newer"])
def test_event_outside_the_window_may_be_dropped(
    target: Endpoint, inspection: InspectionClient, value: int
) -> None:
    inspection.freeze(NOW)
    inspection.configure(stale_time="drop")
    target.post({"td_record_time": value})
    assert inspection.rejected()["rule"] == "T3"


@checks("T4")
@pytest.mark.parametrize("value", [OLDEST, NEWEST], ids=["oldest", "newest"])
def test_ends_of_the_window_are_inside(
    target: Endpoint, inspection: InspectionClient, value: int
) -> None:
    inspection.freeze(NOW)
    target.post({"td_record_time": value})
    event = inspection.event()
    assert int(event["record"]["time"]) == value
    assert event["findings"] == []


@checks("T5")
@pytest.mark.parametrize("value", ["soon", "1.5", NOW + 0.5, True, [NOW], "", f" {NOW}"])
def test_record_time_that_is_not_a_number_is_ignored(
    target: Endpoint, inspection: InspectionClient, value: object
) -> None:
    inspection.freeze(NOW)
    target.post({"td_record_time": value})
    assert int(inspection.finding("T5")["record"]["time"]) == NOW


@checks("T5")
def test_milliseconds_are_named(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.freeze(NOW)
    target.post({"td_record_time": NOW * 1000})
    event = inspection.finding("T5")
    assert int(event["record"]["time"]) == NOW
    assert "milliseconds" in " ".join(found["message"] for found in event["findings"])


@checks("T6")
def test_time_in_the_body_is_replaced(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.freeze(NOW)
    target.post({"time": 1})
    assert int(inspection.finding("T6")["record"]["time"]) == NOW


@checks("T7")
def test_time_is_text_of_whole_seconds(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.freeze(NOW + 0.75)
    target.post()
    assert inspection.record()["time"] == str(NOW)
    target.post({"td_record_time": NOW - 1})
    assert inspection.record()["time"] == str(NOW - 1)


@checks("C1")
@pytest.mark.parametrize("name", ["Camel", "with-dash", "9lives", "with space", "\u00e9", "$x", ""])
def test_column_name_with_an_alias_is_a_finding(
    target: Endpoint, inspection: InspectionClient, name: str
) -> None:
    target.post({name: 1})
    event = inspection.finding("C1")
    assert [found["column"] for found in event["findings"]] == [name]


@checks("C1")
@pytest.mark.parametrize("name", ["plain", "_x", "a9_b"])
def test_plain_column_name_is_none(
    target: Endpoint, inspection: InspectionClient, name: str
) -> None:
    target.post({name: 1})
    assert inspection.event()["findings"] == []


@checks("C2")
def test_crossing_512_columns_is_a_finding(target: Endpoint, inspection: InspectionClient) -> None:
    path = target.path(table=f"{target.table}_{target.run}")
    target.post({f"c{number}": 1 for number in range(511)}, path=path)
    assert inspection.event()["findings"] == []
    target.post({"c512": 1}, path=path)
    inspection.finding("C2")
    target.post({"c513": 1}, path=path)
    assert inspection.event()["findings"] == []


@checks("C3")
def test_placeholders_in_a_body_are_plain_text(
    target: Endpoint, inspection: InspectionClient
) -> None:
    names = ("td_ip", "td_ua", "td_global_id")
    target.post({name: name for name in names})
    record = inspection.record()
    assert {name: record[name] for name in names} == {name: name for name in names}
