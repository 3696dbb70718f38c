"""`doctor`: checks everything that the services need, and says how to fix what fails."""

import asyncio
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from infra.cli import base, screen
from shared.settings import Settings

OLDEST_KAFKA = "3.9"
OLDEST_POSTGRES = 15
SKEW = 2.0  # seconds between two clocks
ROOM = 1 << 30  # bytes free on the disk
PATIENCE = 20.0


@dataclass(frozen=True)
class Finding:
    """The result of one check. `fix` says what to do; it is empty where the check passed."""

    check: str
    found: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        return not self.fix


Check = Callable[[Settings], Awaitable[list[Finding]]]


async def kafka(settings: Settings) -> list[Finding]:
    """Reachable, and new enough to have what we ask of it."""
    from infra.cli.bus import brokers

    if not settings.kafka:
        return [Finding("Kafka", "no address, and none of ours runs", "hansard up, or set HANSARD_KAFKA")]
    try:
        began = time.monotonic()
        count, speaks = await asyncio.wait_for(brokers(settings), 10)
        took = (time.monotonic() - began) * 1000
    except Exception as away:
        fix = f"start it, or mend HANSARD_KAFKA, HANSARD_KAFKA_SECURITY and its secrets ({one_line(repr(away))})"
        return [Finding("Kafka", f"{settings.kafka} does not answer", fix)]
    version, new_enough = kafka_version(speaks)
    told = f"{settings.kafka} answers in {took:.0f} ms: Kafka {version}, {count} broker(s)"
    return [Finding("Kafka", told, "" if new_enough else f"Kafka {OLDEST_KAFKA} or later is needed")]


FETCH = 1  # its key in Kafka's protocol


def kafka_version(speaks: Mapping[int, tuple[int, int]]) -> tuple[str, bool]:
    """What a broker does not tell of its version its protocol does; and whether it is new enough for us.

    `speaks` has the oldest and newest version of each API: Fetch 17 came with 3.9, and 4.0 gave up Fetch 0 to 3.
    """
    oldest, newest = speaks.get(FETCH, (0, 0))
    if newest < 17:
        return "before 3.9", False
    return ("4.0 or later" if oldest >= 4 else "3.9"), True


async def topics(settings: Settings) -> list[Finding]:
    """Every topic is there as the table wants it, and the doors have the broker's time."""
    from infra.topics import plan
    from shared.kafka.admin import check_doors

    if not settings.kafka:
        return []
    found: list[Finding] = []
    try:
        changes = list(await plan(settings))
        if changes:
            found.append(Finding("topics", "; ".join(map(str, changes[:3])), "hansard topics"))
        else:
            found.append(Finding("topics", f"all {len(settings.topics.all)} are as they should be"))
    except Exception as failed:
        found.append(Finding("topics", f"cannot be looked at: {failed}", "give this user DESCRIBE on the topics"))
    try:
        await asyncio.wait_for(check_doors(settings), 10)
        found.append(Finding("doors", "they have LogAppendTime: their time is the broker's"))
    except Exception as failed:
        fix = "hansard topics, or set message.timestamp.type=LogAppendTime on them"
        found.append(Finding("doors", str(failed) or type(failed).__name__, fix))
    return found


async def postgres(settings: Settings) -> list[Finding]:
    """Reachable, new enough, migrated, append-only, with the rights that a service needs."""
    import asyncpg

    dsn, schema = settings.postgres.get_secret_value(), settings.postgres_schema
    if not dsn:
        return [Finding("Postgres", "no address, and none of ours runs", "hansard up, or set HANSARD_POSTGRES")]
    try:
        began = time.monotonic()
        connection_ = await asyncpg.connect(dsn, timeout=5, statement_cache_size=0)
    except Exception as away:
        fix = f"start it, or mend HANSARD_POSTGRES ({type(away).__name__}: {one_line(away)})"
        return [Finding("Postgres", "does not answer", fix)]
    try:
        took = (time.monotonic() - began) * 1000
        version = await connection_.fetchval("select current_setting('server_version_num')::int")
        told = f"PostgreSQL {version // 10000}.{version % 100} answers in {took:.0f} ms"
        fix = "" if version >= OLDEST_POSTGRES * 10000 else f"PostgreSQL {OLDEST_POSTGRES} or later is needed"
        found = [Finding("Postgres", told, fix), *await _durable(connection_)]
        if not await connection_.fetchval("select to_regclass($1) is not null", f'"{schema}".events'):
            return [*found, Finding("schema", f"{schema} is not there", "hansard migrate")]
        return [*found, *await _schema(connection_, dsn, schema), *await _clock(connection_)]
    finally:
        await connection_.close()


async def _durable(connection_: Any) -> list[Finding]:
    off = [name for name in ("fsync", "synchronous_commit", "full_page_writes")
           if await connection_.fetchval("select current_setting($1)", name) == "off"]  # fmt: skip
    if off:
        return [Finding("durability", f"{', '.join(off)} off", "turn it on: what is committed must survive a power cut")]
    return [Finding("durability", "fsync and synchronous_commit are on")]


async def _schema(connection_: Any, dsn: str, schema: str) -> list[Finding]:
    from infra.migrations import pending

    found: list[Finding] = []
    try:
        waiting = await pending(dsn, schema)
        found.append(
            Finding("schema", f"{schema} waits for {', '.join(waiting)}", "hansard migrate")
            if waiting
            else Finding("schema", f"{schema} is as this version wants it")
        )
    except Exception as failed:
        found.append(Finding("schema", one_line(failed), "restore the migration's file"))
    guarded = await connection_.fetchval(
        "select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid"
        " where c.relnamespace = $1::regnamespace and c.relname in ('events', 'hearings', 'doors')"
        " and not t.tgisinternal and t.tgenabled in ('A', 'O')",
        f'"{schema}"',
    )
    found.append(
        Finding("append-only", "the trigger guards events, hearings and doors")
        if guarded >= 3
        else Finding("append-only", "a table may be changed", "restore the trigger append_only (migration 0001)")
    )
    lacks = [
        f"{right} on {table}"
        for table, rights in NEEDED.items()
        for right in rights
        if not await connection_.fetchval("select has_table_privilege($1, $2)", f'"{schema}"."{table}"', right)
    ]
    role = f"{schema}_writer"
    found.append(
        Finding("grants", "this user may not " + ", ".join(lacks), f"grant {role} to this user")
        if lacks
        else Finding("grants", "this user may do what a service must")
    )
    return found


NEEDED = {
    "messages": ("select", "insert"),
    "inbox": ("select", "insert"),
    "door_messages": ("select", "insert"),
    "streams": ("select", "insert", "update"),
    "wake_ups": ("select", "insert", "update", "delete"),
    "attempts": ("select", "insert", "update"),
    "instances": ("select", "insert", "update", "delete"),
}


async def _clock(connection_: Any) -> list[Finding]:
    before = datetime.now(UTC)
    there = await connection_.fetchval("select clock_timestamp()")
    return [skew("clock of Postgres", before, there, datetime.now(UTC))]


def skew(what: str, before: datetime, there: datetime, after: datetime) -> Finding:
    """How far another clock is from this machine's, which stood at `before` and `after` when it was asked and had answered."""
    here = before + (after - before) / 2
    apart = abs((there - here).total_seconds())
    slack = (after - before).total_seconds() / 2
    return Finding(
        what, f"{apart:.3f} s from this machine's", "" if apart <= SKEW + slack else "synchronise both machines by NTP"
    )


async def broker_clock(settings: Settings) -> list[Finding]:
    """The brokers' clock, as far as it can be known: the stamp of the latest message at a door is not ahead of us."""
    from infra.cli.bus import broker_time

    if not settings.kafka:
        return []
    try:
        stamp = await asyncio.wait_for(broker_time(settings), 15)
    except Exception as failed:
        return [Finding("clock of Kafka", f"could not be asked: {one_line(failed)}", "hansard topics")]
    if stamp is None:
        return [Finding("clock of Kafka", "not known: nothing was said at a door yet")]
    ahead = (stamp - datetime.now(UTC)).total_seconds()
    if ahead > SKEW:
        return [Finding("clock of Kafka", f"{ahead:.1f} s ahead of this machine's", "let both machines keep their time by NTP")]
    return [Finding("clock of Kafka", f"not ahead: it stamped a message {-ahead:.0f} s ago")]


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


async def disk(settings: Settings) -> list[Finding]:
    """There is room for data and logs."""
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return [
        Finding("disk", f"{free / 1e9:.1f} GB free at {folder}", "" if free > ROOM else "free some space: less than 1 GB is left")
    ]


CHECKS: Sequence[Check] = (kafka, topics, broker_clock, postgres, model, disk)


def one_line(text: object) -> str:
    """The first line of an error."""
    return (str(text).strip().splitlines() or [type(text).__name__])[0][:200]


OF_KAFKA = (topics, broker_clock)


async def findings(settings: Settings, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """The findings of every check, each within `PATIENCE`. Checks that need Kafka are left out where it does not answer."""
    found: list[Finding] = []
    for check in checks:
        if check in OF_KAFKA and any(finding.check == "Kafka" and not finding.ok for finding in found):
            continue
        try:
            found.extend(await asyncio.wait_for(check(settings), PATIENCE))
        except TimeoutError:
            found.append(Finding(check.__name__, f"no answer within {PATIENCE:.0f} s", "look at its log"))
    return found


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Check Kafka, Postgres and its grants, the model, clocks, topics and the disk. Each failure is printed with its fix.

    Example: hansard doctor
    """
    from infra.servers import Addresses, Servers

    settings = base.local()
    settings = base.with_addresses(settings, Servers(settings.home).found() or Addresses())
    found = base.run(findings(settings))
    if json_:
        for finding in found:
            fields = {"check": finding.check, "ok": finding.ok, "found": finding.found, "fix": finding.fix}
            print(screen.as_json(fields))
    else:
        rows = [(_mark(finding), finding.check, finding.found, finding.fix and f"→ {finding.fix}") for finding in found]
        screen.out.print(screen.table(("", "check", "found", "what to do"), rows))
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def _mark(finding: Finding) -> Text:
    return Text("✓", "green") if finding.ok else Text("✗", "bold red")
