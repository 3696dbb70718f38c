"""Real processes whose wall clock is wrong: libfaketime, of Debian's package `faketime`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.servers import Servers
from tests.processes import given_environment

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), *Path("/usr/lib/faketime").glob("*MT.so.1")]
HOUR = 3600  # seconds
needs_faketime = pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed: apt install faketime")


def faked(seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is this many seconds ahead."""
    only_the_wall = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}  # else Java's waits spin
    return {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": f"{seconds:+d}", **only_the_wall}


@contextmanager
def wrong_clock(own: Servers, server: str, off: int) -> Iterator[None]:
    """The server runs with such a clock meanwhile, and afterwards with the right one."""

    def restart(environment: dict[str, str]) -> None:
        own.stop(server)
        with given_environment(environment):
            own.start(server)

    restart(faked(off))
    try:
        yield
    finally:
        restart({})
