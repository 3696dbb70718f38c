"""Who is silent: by this process's own monotonic time, and never by its own fault."""

import pytest

from shared.runtime.performer import Heartbeats


def after(*beats: tuple[float, dict[str, int]], silence: float = 5) -> Heartbeats:
    signs = Heartbeats(silence)
    for at, received in beats:
        signs.silent(at)
        signs.processed(received, at)
    return signs


def test_who_gives_no_new_sign_for_so_long_is_silent() -> None:
    signs = after(*((float(n), {"loud": n, "dead": 0}) for n in range(6)))
    assert signs.silent(5.0) == {}
    assert signs.silent(5.1) == {"dead": 0}


def test_a_sign_may_be_anything_as_long_as_it_is_another() -> None:
    """The store's clock may be put back: then signs go back too."""
    signs = after(*((float(n), {"loud": 3600 if n < 3 else n}) for n in range(9)))
    assert signs.silent(9.0) == {}


@pytest.mark.parametrize("gap", [2.6, 1000.0])
def test_who_was_silent_itself_begins_to_listen_anew(gap: float) -> None:
    signs = after(*((float(n), {"other": 0}) for n in range(5)))
    assert signs.silent(4.0 + gap) == {}
    signs.processed({"other": 0}, 4.0 + gap)
    assert signs.silent(4.0 + gap + 2) == {}


def test_who_was_found_silent_and_is_gone_is_forgotten() -> None:
    signs = after(*((float(n), {"dead": 0}) for n in range(6)), (6.0, {}))
    assert signs.silent(7.0) == {}


def test_at_the_first_look_nobody_is_silent() -> None:
    assert Heartbeats(5).silent(1e9) == {}
