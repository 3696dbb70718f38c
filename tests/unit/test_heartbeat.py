"""Which processes are silent: by this process's own monotonic time, and never because it was silent itself."""

import pytest

from shared.runtime.heartbeat import Heartbeats


def after(*beats: tuple[float, dict[str, int]], silence: float = 5) -> Heartbeats[int]:
    heartbeats = Heartbeats[int](silence)
    for at, received in beats:
        heartbeats.silent(at)
        heartbeats.received(received, at)
    return heartbeats


def test_a_process_without_a_new_heartbeat_for_so_long_is_silent() -> None:
    heartbeats = after(*((float(n), {"loud": n, "dead": 0}) for n in range(6)))
    assert heartbeats.silent(5.0) == {}
    assert heartbeats.silent(5.1) == {"dead": 0}


def test_a_heartbeat_counts_when_it_differs_from_the_last() -> None:
    """The store's clock may be put back: then heartbeats go back too."""
    heartbeats = after(*((float(n), {"loud": 3600 if n < 3 else n}) for n in range(9)))
    assert heartbeats.silent(9.0) == {}


@pytest.mark.parametrize("gap", [2.6, 1000.0])
def test_a_process_that_was_silent_itself_begins_to_measure_anew(gap: float) -> None:
    heartbeats = after(*((float(n), {"other": 0}) for n in range(5)))
    assert heartbeats.silent(4.0 + gap) == {}
    heartbeats.received({"other": 0}, 4.0 + gap)
    assert heartbeats.silent(4.0 + gap + 2) == {}


def test_a_silent_process_that_has_ended_is_forgotten() -> None:
    heartbeats = after(*((float(n), {"dead": 0}) for n in range(6)), (6.0, {}))
    assert heartbeats.silent(7.0) == {}


def test_at_first_no_process_is_silent() -> None:
    assert Heartbeats[int](5).silent(1e9) == {}
