"""Logs hold no secret: a traceback shows the calls, never the values of variables."""

import json
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
    assert done.stderr.count("nobody is there") >= 2, "both are logged; the text of an OSError holds no body"
    assert "in connect" in done.stderr, "with the calls"
    assert "hunter2" not in done.stdout + done.stderr


def test_libraries_that_only_repeat_our_own_log_lines_are_silent() -> None:
    code = "from shared.telemetry import logs; import logging; logs.configure('INFO', 'json');" + "".join(
        f"logging.getLogger({name!r}).error('again');" for name in ("asyncpg.pool", "aiokafka.client", "openai._base_client")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


CONFIGURED = "from shared.telemetry import logs; import logging; logs.configure('DEBUG', '{form}', {payloads});"
TELLS = """
from shared.masking import mask
mask("the-pass:word"); asked = "what " + "was asked"; secret = "the-pass" + ":word"
def failing():
    try:
        {"a": 1}[asked]
    except KeyError as failed:
        raise ValueError(f"cannot do {asked} with {secret}") from failed
try:
    failing()
except ValueError:
    logs.log.exception("it failed", given={"password": secret, "list": [secret, {secret: 1}], "object": Exception(secret)})
    logging.getLogger("a.library").exception("it failed with %s", secret)
    logging.getLogger("hansard").exception("so did this")
logs.log.info(f"connects by postgresql://me:{secret}@db/d", authorization="Bearer abcdefghij")
import warnings; warnings.warn(f"beware of {secret}")
for name in ("aiokafka", "asyncpg.pool", "httpx2", "httpcore2.connection", "openai._base_client", "urllib3"):
    logging.getLogger(name).debug("sent %s", asked)
"""


def logged(form: str, more: str, payloads: bool = False) -> str:
    code = CONFIGURED.format(form=form, payloads=payloads) + more
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("payloads", [False, True])
@pytest.mark.parametrize("form", ["console", "json"])
def test_no_log_holds_a_secret_and_payloads_only_when_they_are_asked_for(form: str, payloads: bool) -> None:
    text = logged(form, TELLS, payloads)
    assert "the-pass" not in text and "abcdefghij" not in text
    assert ("what was asked" in text) is payloads
    assert text.count("in failing") >= 3 and "KeyError" in text and "ValueError" in text, "types and calls are there"
    assert "postgresql://me:***@db/d" in text and "beware of ***" in text
    if form == "json":
        assert all(json.loads(line) for line in text.splitlines())


def test_before_logs_are_configured_they_show_no_locals_either() -> None:
    code = TELLS.replace("logging.getLogger", "logging.getLogger('off').getChild")
    text = subprocess.run(
        [sys.executable, "-c", "import logging; from shared.telemetry import logs; logging.disable()\n" + code],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = text.stdout + text.stderr.partition("UserWarning")[0]
    assert "in failing" in shown and "the-pass" not in shown and "what was" not in shown


async def test_an_error_that_nobody_handled_is_logged_without_its_text() -> None:
    program = """
import asyncio
async def main():
    asyncio.get_running_loop().set_exception_handler(logs.report_unhandled)
    async def task(given): raise ValueError(given)
    made = asyncio.create_task(task("what " + "was asked")); await asyncio.sleep(0.01); del made
    import gc; gc.collect()
asyncio.run(main())
"""
    text = logged("json", program)
    assert "never retrieved" in text and "ValueError: (its text" in text and "was asked" not in text
