"""`hansard`: the one command, and the composition root: the one place that may import every service."""

import logging
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from infra.cli import (
    api_keys,
    audit,
    contents,
    dead_letters,
    demo,
    doctor,
    operate,
    people,
    requests,
    running,
    screen,
    signals,
    starters,
    statistics,
    submitting,
    tails,
    watching,
)
from infra.cli.problem import Problem
from infra.servers import ServerError
from infra.terminal import typed, write_what_can_be_shown
from shared.masking import masked

app = typer.Typer(
    name="hansard",
    help="LLM agents that work together through Kafka topics; nothing counts until it is on the record.\n\n"
    'Start with:  hansard up --detach   and   hansard ask "What is a quorum?"',
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

RUN, ASK, RECORD, CARE = "Run", "Ask", "The record", "Maintenance"

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    RUN: {"demo": demo.demo, "up": running.up, "down": running.down, "status": running.status, "serve": running.serve},
    ASK: {
        "ask": requests.ask,
        "submit": submitting.submit,
        "watch": watching.watch,
        "results": watching.results,
        "cancel": requests.cancel,
        "signal": signals.signal,
        "init": starters.init,
    },
    RECORD: {"replay": audit.replay, "stats": statistics.stats, "effects": statistics.effects},
    CARE: {
        "doctor": doctor.doctor,
        "migrate": operate.migrate,
        "topics": operate.topics,
        "republish": tails.republish,
    },
}
EPILOGS = {"serve": "\n\n".join(f"[bold]{name}[/bold]: {about}" for name, about in running.summaries().items())}
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel, epilog=EPILOGS.get(name))(command)
app.add_typer(starters.app, name="plans", rich_help_panel=ASK)
app.add_typer(audit.app, name="audit", rich_help_panel=RECORD)
app.add_typer(contents.app, name="content", rich_help_panel=RECORD)
app.add_typer(people.app, name="people", rich_help_panel=CARE)
app.add_typer(api_keys.app, name="keys", rich_help_panel=CARE)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=CARE)
app.add_typer(tails.app, name="epoch", rich_help_panel=CARE)
app.command("supervise", hidden=True)(running.supervise)


@app.callback()
def _hansard(debug: bool = typer.Option(False, "--debug", help="Print the traceback of an error.")) -> None:
    if not debug:
        logging.disable(logging.CRITICAL)  # libraries log what the command itself reports in one sentence


def main() -> None:
    """The entry of the command: errors as one sentence, unless `--debug`."""
    write_what_can_be_shown()
    try:
        sys.exit(app(args=arguments(), prog_name="hansard", standalone_mode=False))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as failed:  # whatever a command did not foresee is still reported in one sentence
        if hasattr(failed, "format_message"):  # an error of typer's, which repeats what was typed
            theirs: Any = import_module("typer.rich_utils")  # takes a tenth of a command's start
            theirs.Console = screen.SafeConsole
            theirs.rich_format_error(failed)
            sys.exit(2)
        if "--debug" in sys.argv[1:]:
            screen.write(masked("".join(traceback.format_exception(failed))), stderr=True)
        sys.exit(report(failed))


def arguments() -> list[str]:
    """What was typed. Raises Problem where it cannot be read."""
    try:
        return [typed(text) for text in sys.argv[1:]]
    except ValueError as unread:
        raise Problem(f"{unread}.", code=2) from None


def report(failed: Exception) -> int:
    """Prints one sentence for a person on standard error; returns the exit code."""
    if isinstance(failed, Problem | ServerError):
        screen.write(f"hansard: {masked(str(failed))}", stderr=True)
        return failed.code if isinstance(failed, Problem) else 1
    what = masked(f"{type(failed).__name__}: {failed}")
    more = "(`hansard --debug …` shows where it happened; `hansard doctor` looks for causes)"
    screen.write(f"hansard: {what}\n{more}", stderr=True)
    return 1
