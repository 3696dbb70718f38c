"""Logs hold no secret: a traceback shows the calls, never the values of variables."""

import subprocess
import sys

import pytest

LOGS_A_FAILURE = """
import logging
from shared.telemetry import logs

logs.configure("INFO", "{form}")

def connect(password: str) -> None:
    raise OSError("nobody is there")

try:
    connect("hunter" + str(2))
except OSError:
    logging.getLogger("{logger}").{how}("it failed", exc_info=True)
    logs.log.error("it failed here too", exc_info=True)
"""


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(("logger", "how"), [("a.library", "warning"), ("a.library", "error"), ("hansard", "error")])
def test_a_traceback_shows_no_locals(form: str, logger: str, how: str) -> None:
    code = LOGS_A_FAILURE.format(form=form, logger=logger, how=how)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("nobody is there") >= 2, "both are logged"
    assert "in connect" in done.stderr, "with the calls"
    assert "hunter2" not in done.stdout + done.stderr


def test_libraries_that_only_repeat_our_own_log_lines_are_silent() -> None:
    code = "from shared.telemetry import logs; import logging; logs.configure('INFO', 'json');" + "".join(
        f"logging.getLogger({name!r}).error('again');" for name in ("asyncpg.pool", "aiokafka.client", "openai._base_client")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
