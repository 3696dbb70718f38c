"""`doctor`: checks everything that the services need, and says how to fix what fails."""

import asyncio
import json
import shutil
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from contracts.catalog import OURS
from infra.cli import base, loading, screen
from infra.cli.access import check_access
from infra.cli.finding import Check, Finding, one_line
from infra.cli.identity_checks import identities
from infra.cli.login_checks import encryption, logins
from infra.cli.problem import Problem
from shared.settings import Settings
from shared.tasks import within

if TYPE_CHECKING:
    from shared.eventstore.postgres.admin import SchemaInspection

OLDEST_KAFKA = "3.9"
OLDEST_POSTGRES = 15
SKEW = 2.0  # seconds between two clocks
ROOM = 1 << 30  # bytes free on the disk
PATIENCE = 20.0
MAX_READER_LAG = 60.0  # seconds


async def kafka(settings: Settings) -> list[Finding]:
    """Whether it answers and is new enough."""
    from hansard.refusals import why_away
    from shared.kafka.brokers import describe_brokers
    from shared.kafka.connection import connection

    if not settings.kafka:
        return [Finding("Kafka", "no address, and none of ours runs", "hansard up, or set HANSARD_KAFKA")]
    try:
        began = time.monotonic()
        count, versions = await within(10, describe_brokers(settings))
        took = (time.monotonic() - began) * 1000
    except Exception as failed:  # KafkaError, OSError, ssl.SSLError, TimeoutError: a finding, whatever it is
        usual = f"start it, or correct HANSARD_KAFKA, HANSARD_KAFKA_SECURITY and its secrets ({one_line(repr(failed))})"
        return [Finding("Kafka", f"{settings.kafka} does not answer", await why_away(connection(settings)) or usual)]
    version, new_enough = kafka_version(versions)
    found = f"{settings.kafka} answers in {took:.0f} ms: Kafka {version}, {count} broker(s)"
    return [Finding("Kafka", found, "" if new_enough else f"Kafka {OLDEST_KAFKA} or later is needed")]


FETCH = 1  # its key in Kafka's protocol


def kafka_version(versions: Mapping[int, tuple[int, int]]) -> tuple[str, bool]:
    """The version of a broker, and whether it is new enough for us. A broker does not name it, but its APIs show it.

    `versions` has the oldest and newest version of each API: Fetch 17 came with 3.9, and 4.0 dropped Fetch 0 to 3.
    """
    oldest, newest = versions.get(FETCH, (0, 0))
    if newest < 17:
        return "before 3.9", False
    return ("4.0 or later" if oldest >= 4 else "3.9"), True


async def topics(settings: Settings) -> list[Finding]:
    """Whether every topic exists as the catalogue wants it, and the doors stamp the broker's time."""
    from shared.kafka.admin import check_doors, plan

    if not settings.kafka:
        return []
    found: list[Finding] = []
    try:
        changes = list(await plan(settings))
        if changes:
            found.append(Finding("topics", "; ".join(map(str, changes[:3])), "hansard topics"))
        else:
            found.append(Finding("topics", f"all {len(settings.topics.all)} are as they should be"))
    except Exception as failed:  # KafkaError, OSError: a finding, whatever it is
        found.append(Finding("topics", f"cannot be described: {failed}", "give this user DESCRIBE on the topics"))
    try:
        await within(10, check_doors(settings))
        found.append(Finding("doors", "every topic open to the outside uses the broker's time (LogAppendTime)"))
    except Exception as failed:  # DoorError, TimeoutError: a finding, whatever it is
        fix = "hansard topics, or set message.timestamp.type=LogAppendTime on them"
        found.append(Finding("doors", str(failed) or type(failed).__name__, fix))
    return found


async def postgres(settings: Settings) -> list[Finding]:
    """Reachable, new enough, migrated, append-only, with the rights that a service needs."""
    from shared.eventstore.postgres.admin import Unreachable, inspect

    dsn, schema = settings.postgres.get_secret_value(), settings.postgres_schema
    if not dsn:
        return [Finding("Postgres", "no address, and none of ours runs", "hansard up, or set HANSARD_POSTGRES")]
    try:
        seen = await inspect(dsn, schema, pooler=settings.postgres_pooler, topics=settings.topics)
    except Unreachable as error:
        if error.remedy:
            return [Finding("Postgres", "refuses the connection", error.remedy)]
        return [Finding("Postgres", "does not answer", f"start it, or correct HANSARD_POSTGRES ({error})")]
    number = f"{seen.version // 10000}.{seen.version % 100}"
    fix = "" if seen.version >= OLDEST_POSTGRES * 10000 else f"PostgreSQL {OLDEST_POSTGRES} or later is needed"
    found = [
        Finding("Postgres", f"PostgreSQL {number} answers in {seen.connected_in * 1000:.0f} ms", fix),
        Finding("durability", f"{', '.join(seen.not_durable)} off", "turn it on: what is committed must survive a power cut")
        if seen.not_durable
        else Finding("durability", "fsync and synchronous_commit are on"),
    ]
    if seen.schema is None:
        return [*found, Finding("schema", f"{schema} does not exist", "hansard migrate")]
    found += [*encryption("HANSARD_POSTGRES", dsn), *await _schema(dsn, schema, seen.schema)]
    return [*found, *await logins(settings, seen.schema), skew("clock of Postgres", seen.asked, seen.clock, seen.answered)]


async def _schema(dsn: str, schema: str, seen: "SchemaInspection") -> list[Finding]:
    from infra.migrations import pending
    from shared.eventstore.postgres.admin import APPEND_ONLY

    found: list[Finding] = []
    lacking = Finding(
        "grants", "this user may not " + ", ".join(seen.lacking), f"grant {schema}_writer to it: `hansard migrate` does"
    )
    if seen.lacking == [f"use the schema {schema}"]:
        return [lacking]
    try:
        waiting = await pending(dsn, schema)
        found.append(
            Finding("schema", f"{schema} lacks {', '.join(waiting)}", "hansard migrate")
            if waiting
            else Finding("schema", f"{schema} is as this version needs it")
        )
    except Exception as failed:  # MigrationError, or whatever Postgres and the network raise
        found.append(Finding("schema", one_line(failed), "restore the migration's file"))
    found.append(
        Finding("append-only", f"a trigger guards {', '.join(APPEND_ONLY)}")
        if seen.guarded >= len(APPEND_ONLY)
        else Finding("append-only", "a table may be changed", "restore the trigger append_only (migration 0001)")
    )
    found.append(readers(seen.reader_lag))
    found.append(lacking if seen.lacking else Finding("grants", "this user may do what a service must"))
    found.append(_no_more_than_a_service(schema, seen.surplus))
    return found


def readers(lag: float | None) -> Finding:
    """How far a reader of everything is held back by a transaction that began long ago. `lag` is None where that is not known."""
    if lag is None:
        return Finding("readers", "not known: the schema is incomplete")
    if lag <= MAX_READER_LAG:
        return Finding("readers", "no old transaction holds them back")
    fix = "end it: select pid, xact_start, query from pg_stat_activity where backend_xid is not null order by xact_start"
    return Finding("readers", f"a transaction has run for {lag:.0f} s: audits and read models stop before it", fix)


def _no_more_than_a_service(schema: str, surplus: Sequence[str]) -> Finding:
    if not surplus:
        return Finding("ownership", "this user can change no table and nothing that was recorded")
    fix = (
        f"name this address in HANSARD_POSTGRES_OWNER, that of a login of its own in HANSARD_POSTGRES, and run `hansard migrate`,"
        f" which makes it a member of {schema}_writer"
    )
    return Finding("ownership", f"services could change the record: {', '.join(surplus)}", fix)


def skew(what: str, before: datetime, there: datetime, after: datetime) -> Finding:
    """How far another clock is from this machine's, which stood at `before` and `after` when it was asked and had answered."""
    here = before + (after - before) / 2
    apart = abs((there - here).total_seconds())
    slack = (after - before).total_seconds() / 2
    return Finding(
        what, f"{apart:.3f} s from this machine's", "" if apart <= SKEW + slack else "synchronise both machines by NTP"
    )


async def broker_clock(settings: Settings) -> list[Finding]:
    """Whether the brokers' clock is ahead, as far as the latest message at a door tells."""
    if not settings.kafka:
        return []
    try:
        stamp = await within(15, _latest_at_a_door(settings))
    except Exception as failed:  # Problem, KafkaError, TimeoutError: a finding, whatever it is
        return [Finding("clock of Kafka", f"could not be asked: {one_line(failed)}", "hansard topics")]
    if stamp is None:
        return [Finding("clock of Kafka", "not known: no door has received a message yet")]
    ahead = (stamp - datetime.now(UTC)).total_seconds()
    if ahead > SKEW:
        return [Finding("clock of Kafka", f"{ahead:.1f} s ahead of this machine's", "let both machines keep their time by NTP")]
    return [Finding("clock of Kafka", f"not ahead: it stamped a message {-ahead:.0f} s ago")]


async def _latest_at_a_door(settings: Settings) -> datetime | None:
    from infra.cli.bus import reached
    from shared.kafka.reader import reading

    doors = [topic.name for topic in settings.topics.all if topic.door]
    with reached(settings):
        async with reading(settings, doors, "last") as reader:
            return max([record.at async for record in reader.to_the_end()], default=None)


async def model(settings: Settings) -> list[Finding]:
    """The endpoint answers, and serves the configured model."""
    if settings.gateway:
        there = settings.gateway.is_file()
        fix = "" if there else "create the file, or unset HANSARD_GATEWAY"
        found = f"the tiers of {settings.gateway}" if there else f"{settings.gateway} does not exist"
        return [Finding("model", found, fix)]
    if not settings.model_url:
        return [Finding("model", "no address is set, and no local model runs", "hansard up, or set HANSARD_MODEL_URL")]
    try:
        names = await asyncio.to_thread(_models, settings)
    except urllib.error.HTTPError as refused:
        fix = "correct HANSARD_MODEL_KEY" if refused.code in (401, 403) else "correct HANSARD_MODEL_URL"
        return [Finding("model", f"{settings.model_url} answers with status {refused.code}", fix)]
    except (OSError, ValueError, urllib.error.URLError) as failed:
        fix = f"start it, or correct HANSARD_MODEL_URL and HANSARD_MODEL_KEY ({one_line(failed)})"
        return [Finding("model", f"{settings.model_url} does not answer", fix)]
    wanted = settings.model_name
    if wanted and names and wanted not in names:
        return [
            Finding("model", f"{settings.model_url} has no {wanted}", f"set HANSARD_MODEL_NAME to one of {', '.join(names[:8])}")
        ]
    return [Finding("model", f"{settings.model_url} answers: {wanted or ', '.join(names[:3])}")]


def _models(settings: Settings) -> list[str]:
    question = urllib.request.Request(f"{settings.model_url.rstrip('/')}/models")
    if key := settings.model_key.get_secret_value():
        question.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(question, timeout=5) as answer:
        return [str(one.get("id")) for one in json.load(answer).get("data", ())]


async def content(settings: Settings) -> list[Finding]:
    """Whether the folder or the bucket for large contents answers."""
    from shared.content.store import place_at
    from shared.eventstore.model import StoreUnavailable

    if (place := place_at(settings.content)) is None:
        largest = f"{settings.content_postgres_bytes / 1e6:.0f} MB"
        return [Finding("content store", f"in Postgres, up to {largest} each; HANSARD_CONTENT names no place for larger ones")]
    try:
        await place.get("default", "0" * 64)
    except StoreUnavailable as away:
        return [Finding("content store", one_line(away), "start it, or correct HANSARD_CONTENT and its credentials")]
    return [Finding("content store", f"in Postgres; larger ones in {place.name}, which answers")]


async def disk(settings: Settings) -> list[Finding]:
    """There is room for data and logs."""
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return [
        Finding("disk", f"{free / 1e9:.1f} GB free at {folder}", "" if free > ROOM else "free some space: less than 1 GB is left")
    ]


async def set_aside(settings: Settings) -> list[Finding]:
    """Whether every stream's history can be folded."""
    from infra.audit.set_aside import streams_set_aside

    if not settings.postgres.get_secret_value():
        return []
    try:
        async with base.record(settings) as store:
            found = await streams_set_aside(store, settings.topics)
    except Exception as failed:  # Problem, StoreUnavailable: a finding, whatever it is
        return [Finding("streams", f"could not be looked at: {one_line(failed)}", "hansard migrate")]
    if not found:
        return [Finding("streams", "none is set aside")]
    some = "; ".join(f"{stream} ({one_line(why)})" for stream, why in found[:3])
    what = f"{len(found)} set aside, whose history a version cannot fold: {some}"
    return [Finding("streams", what, "run the version that can, then hansard dead-letters redrive ID for each")]


CHECKS: Sequence[Check] = (
    kafka,
    topics,
    check_access,
    broker_clock,
    postgres,
    set_aside,
    content,
    model,
    identities,
    disk,
)


NEEDED: dict[Check, str] = {topics: "Kafka", check_access: "Kafka", broker_clock: "Kafka", set_aside: "Postgres"}


def our_services(settings: Settings) -> list[Finding]:
    """What is wrong with our own services: each is imported and made of the settings, and none is run."""
    found: list[Finding] = []
    for name in OURS:
        try:
            module = import_module(f"services.{name}.app")
        except Exception as failed:  # whatever a service's code raises while it is imported
            what = f"services/{name}/app.py cannot be imported: {origin(failed)}"
            found.append(Finding(f"service {name}", what, "correct the file"))
            continue
        try:
            service = module.build(settings)
            if getattr(service, "name", None) != name:
                what = f"services/{name}/app.py: `build` makes no Service that is named {name!r}"
                found.append(Finding(f"service {name}", what, "correct the file"))
        except Exception as failed:  # whatever a service's code raises of a setting, or of a file that one names
            what = f"services/{name}/app.py cannot make it: {origin(failed)}"
            found.append(Finding(f"service {name}", what, "correct the file or the setting"))
    return found or [Finding("services", f"all {len(OURS)} of ours can be loaded: {', '.join(OURS)}")]


def origin(failed: Exception) -> str:
    """An error and the last line of our own code that led to it: `services/planner/app.py, line 7: NameError: …`."""
    error = f"{type(failed).__name__}: {one_line(failed)}"
    if isinstance(failed, SyntaxError):
        return error  # it names its file and line itself
    frames = [frame for frame in traceback.extract_tb(failed.__traceback__) if Path(frame.filename).is_relative_to(loading.HERE)]
    last = [frame for frame in frames if Path(frame.filename) != Path(__file__)][-1:]
    return "".join(f"{Path(one.filename).relative_to(loading.HERE)}, line {one.lineno}: " for one in last) + error


def own_services(settings: Settings) -> tuple[Settings, list[Finding]]:
    """The settings with your own services loaded, as far as that goes; what was found about each."""
    found: list[Finding] = []
    for spec in settings.services:
        try:
            alone = loading.with_own(settings.model_copy(update={"services": (spec,)}))
            settings = loading.taken(settings, alone.loaded)
        except Problem as problem:
            found.append(Finding(f"service {spec}", str(problem), "correct the file, or HANSARD_SERVICES"))
            continue
        service = alone.loaded[-1]
        kinds = sorted(kind.kind for kind in service.receives)
        topics = ", ".join(topic.name for topic in settings.topics.consumed_by(service.name) if not topic.door)
        found.append(Finding(f"service {service.name}", f"{spec} is loaded; it receives {', '.join(kinds)} on {topics}"))
    return settings, found


async def findings(settings: Settings, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """The findings of every check, each within `PATIENCE`. What needs Kafka or Postgres is left out where there is none."""
    found: list[Finding] = []
    for check in checks:
        needed = NEEDED.get(check, "")
        if any(finding.check == needed and not finding.ok for finding in found):
            continue
        try:
            found.extend(await within(PATIENCE, check(settings)))
        except TimeoutError:
            found.append(Finding(check.__name__, f"no answer within {PATIENCE:.0f} s", "look at its log"))
    return found


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Check the services, Kafka, Postgres and its grants, the model, clocks, topics and the disk. Each failure is printed with
    its fix.

    Example: hansard doctor
    """
    settings, own = own_services(base.addressed(base.local()))
    found = [*our_services(settings), *own, *base.run(findings(settings))]
    if json_:
        for finding in found:
            screen.put_json({"check": finding.check, "ok": finding.ok, "found": finding.found, "fix": finding.fix})
    else:
        rows = [(_mark(finding), finding.check, finding.found, finding.fix and f"→ {finding.fix}") for finding in found]
        screen.out.print(screen.table(("", "check", "found", "what to do"), rows))
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def _mark(finding: Finding) -> Text:
    return Text("✓", "green") if finding.ok else Text("✗", "bold red")
