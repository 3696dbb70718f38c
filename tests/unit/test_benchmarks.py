"""What is made of measurements: medians, ratios, tables, the results file, and the path that a workflow took."""

import asyncio
import time

import pytest

from tests.benchmarks.clocked import POINTS, clocked, found
from tests.benchmarks.closed import closed
from tests.benchmarks.kit import Run, rotated
from tests.benchmarks.phases import KAFKA, Message, Span, along, path, spent
from tests.benchmarks.tables import Cell, Sample, Section, Table, by_process, compared, merged, middle, percentiles, ratios
from tests.benchmarks.trees import Failed

ONE, MANY = Cell("w1", 1, 60, 20), Cell("w1", 32, 400, 32)


def rounds(*rates: float, cpu: float = 2.0) -> list[Sample]:
    return [Sample(rate, 1000 / rate, 3000 / rate, {"kafka": cpu, "planner": 2 * cpu}) for rate in rates]


def cells(table: Table, column: str) -> list[str]:
    return [row[list(table.columns).index(column)] for row in table.rows]


def test_the_middle_of_three_rounds_is_the_median_of_each_figure_by_itself() -> None:
    one = middle([Sample(10, 5, 9, {"kafka": 1}), Sample(30, 1, 7, {"kafka": 5}), Sample(20, 3, 8, {"kafka": 3, "late": 6})])
    assert one == Sample(20, 3, 8, {"kafka": 3, "late": 0.0})


def test_a_ratio_is_taken_within_each_round_so_that_a_slow_hour_hits_both() -> None:
    assert ratios([100, 10, 50], [50, 5, 25]) == "2.00 (2.00–2.00)"
    assert ratios([100, 90, 80], [100, 100, 100]) == "0.90 (0.80–1.00)"


def test_without_rounds_there_is_no_ratio() -> None:
    assert ratios([], []) == ""


def test_each_other_side_tells_how_we_stand_to_it_and_we_do_not() -> None:
    table = compared({(ONE, "Hansard"): rounds(20, 30, 10), (ONE, "other"): rounds(10, 10, 10)}, "Hansard")
    assert cells(table, "system") == ["Hansard", "other"]
    assert cells(table, "per second") == ["20.0", "10.0"]
    assert cells(table, "rate: Hansard over it") == ["", "2.00 (1.00–3.00)"]
    assert cells(table, "p50: Hansard over it") == ["", "0.50 (0.33–1.00)"]


def test_who_is_measured_alone_has_no_column_of_ratios() -> None:
    assert not any("over it" in column for column in compared({(ONE, "Hansard"): rounds(20)}, "Hansard").columns)


def test_cpu_is_told_by_process_what_takes_most_first_and_summed() -> None:
    table = by_process({(ONE, "Hansard"): rounds(9), (MANY, "Hansard"): rounds(9, cpu=1), (ONE, "other"): rounds(9)}, "Hansard")
    assert table.columns == ["process", "w1, 1 at once", "w1, 32 at once"]
    assert table.rows == [["planner", "4.00", "2.00"], ["kafka", "2.00", "1.00"], ["all", "6.00", "3.00"]]


def test_in_each_round_another_is_first_and_whoever_was_first_is_last() -> None:
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_concurrencies_may_be_chosen_but_not_for_what_is_only_done_one_at_a_time() -> None:
    fan = Cell("fan", 1, 2, 1, single=True)
    assert Run(1, ("w1",)).cells([ONE, MANY, fan]) == [ONE, MANY, fan]
    assert Run(1, ("w1",), (32,)).cells([ONE, MANY, fan]) == [MANY, fan]
    with pytest.raises(Failed, match="at 7 or 8 at once"):
        Run(1, ("w1",), (7, 8)).cells([ONE, MANY])


def test_a_table_is_markdown_with_its_figures_to_the_right() -> None:
    assert Table(["what", "n"], [["a", "1"], ["bcdef", "10"]]).markdown().splitlines() == [
        "| what  |  n |",
        "|-------|---:|",
        "| a     |  1 |",
        "| bcdef | 10 |",
    ]


def test_percentiles_are_in_milliseconds_and_never_beyond_what_was_seen() -> None:
    assert percentiles([n / 1000 for n in range(101)]) == pytest.approx((50, 99))
    assert percentiles([0.001, 0.003])[1] <= 3
    assert percentiles([0.002]) == (2, 2)


def test_a_part_that_is_measured_anew_takes_the_place_of_the_last_and_leaves_the_others() -> None:
    order = ("Hop", "Gateway")
    first = merged("", [Section("Gateway", ["slow"]), Section("Hop", ["high"])], order, "Monday", "# Head\n")
    second = merged(first, [Section("Gateway", ["fast"])], order, "Tuesday", "# Head")
    assert first == "# Head\n\n## Hop\n\nMonday\n\nhigh\n\n## Gateway\n\nMonday\n\nslow\n"
    assert second == "# Head\n\n## Hop\n\nMonday\n\nhigh\n\n## Gateway\n\nTuesday\n\nfast\n"


async def test_a_closed_loop_makes_as_many_calls_as_asked_and_never_more_at_once() -> None:
    now = most = 0

    async def call() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    _, taken = await closed(call, 4, 10)
    assert (len(taken), most) == (10, 4)


def message(id: str, causation_id: str, service: str, version: int, at: float) -> Message:
    return Message(id, causation_id, ("w", f"{service}/1", version), service, at)


ROUTED = message("1", "the request", "router", 1, 1.0)
ASKED = message("2", "1", "gateway", 1, 2.0)
REPLIED = message("3", "an attempt", "gateway", 2, 4.0)
RESULT = message("4", "3", "planner", 1, 5.0)
BESIDE = message("5", "1", "timers", 1, 1.5)


def test_the_path_goes_back_by_cause_and_where_that_came_from_within_along_the_stream() -> None:
    assert path([BESIDE, RESULT, REPLIED, ROUTED, ASKED], RESULT) == [ROUTED, ASKED, REPLIED, RESULT]


def test_a_moment_is_shared_by_what_goes_on_in_it_and_belongs_to_kafka_where_nothing_does() -> None:
    spans = [Span("a", "load", 0.0, 2.0), Span("b", "append", 1.0, 3.0)]
    assert spent(spans, 0.0, 4.0) == {"load": 1.5, "append": 1.5, KAFKA: 1.0}


def test_between_two_messages_only_the_services_that_say_them_count() -> None:
    spans = [
        Span("router", "append", 0.5, 1.0),
        Span("timers", "append", 1.0, 2.0),
        Span("gateway", "model SDK", 2.0, 4.0),
        Span("planner", "append", 4.5, 5.0),
    ]
    assert along([ROUTED, ASKED, REPLIED, RESULT], spans, 0.0, 6.0) == {KAFKA: 3.0, "append": 1.0, "model SDK": 2.0}


@pytest.mark.parametrize("point", [point for points in POINTS.values() for point in points])
def test_every_point_that_is_clocked_is_still_there(point: str) -> None:
    assert callable(getattr(*found(point)))


async def test_a_clocked_function_does_what_it_did_and_its_time_is_noted() -> None:
    noted: list[tuple[str, float, float]] = []

    async def slow(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    before = time.time()
    results = (
        await clocked(slow, "load", lambda *span: noted.append(span))(1),
        clocked(len, "read", lambda *span: noted.append(span))("abc"),
    )
    assert results == (2, 3)
    assert [phase for phase, _, _ in noted] == ["load", "read"]
    assert all(before <= begin <= end <= time.time() for _, begin, end in noted)
