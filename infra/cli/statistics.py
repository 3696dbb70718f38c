"""`stats` and `effects`: what the record adds up to, and which effects have no outcome."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from contracts.requests import SubmitRequest
from contracts.results import Result
from contracts.router import RequestRouted
from hansard.codec import Invalid, decode
from hansard.envelope import Unreadable, read
from hansard.message import Message
from infra.audit import projections
from infra.audit.text import dollars, one_line, percent, short
from infra.cli import base, screen
from infra.cli.options import Json
from infra.cli.unsettled import warn_if_unsettled
from shared.eventstore.model import DoorMessage
from shared.settings import Settings

JUDGED = 2000  # workflows of which the request itself is read, the latest


def effects(
    in_doubt: Annotated[bool, typer.Option("--in-doubt", help="Only those that may or may not have happened.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Also those with an outcome.")] = False,
    json_: Json = False,
) -> None:
    """List effects outside the system (model calls, tools) that have an intent on the record and no outcome.

    Example: hansard effects --in-doubt
    """
    settings = base.running(postgres=True)
    now = datetime.now(UTC)
    found = [(effect, effect.status(now)) for effect in base.run(_effects(settings))]
    wanted = {"in doubt"} if in_doubt else {"in doubt", "in flight"}
    found = [(effect, status) for effect, status in found if all_ or status in wanted]
    if json_:
        for effect, status in found:
            fields = {"stream": str(effect.stream), "type": effect.kind, "at": effect.at, "status": status}
            screen.put_json(fields | {"intent": effect.intent.model_dump(mode="json")})
        return
    rows = [
        (
            f"{effect.at:%Y-%m-%d %H:%M:%S}",
            effect.stream.workflow,
            effect.stream.name,
            short(effect.kind),
            effect.intent.attempt,
            effect.intent.safety,
            Text(status, "red" if status == "in doubt" else ""),
            effect.intent.key,
        )
        for effect, status in found
    ]
    if not rows:
        screen.out.print("No effect is in doubt." if in_doubt else "Every effect has its outcome.")
        return
    screen.out.print(screen.table(("when", "workflow", "stream", "intent", "attempt", "safety", "status", "key"), rows))


async def _effects(settings: Settings) -> list[projections.Effect]:
    async with base.record(settings) as store:
        await warn_if_unsettled(store)
        messages = [stored async for batch in store.read_all() for stored in batch]
        first = projections.effects(messages, settings.topics)
        streams = list({effect.stream for effect in first if not effect.has_outcome})
        histories = await store.load(streams) if streams else {}
        processed = {stream: set(history.entries) for stream, history in histories.items()}
        return projections.effects(messages, settings.topics, processed)


def stats(json_: Json = False) -> None:
    """Print what the record adds up to: paths, tiers, calls, cost.

    Example: hansard stats
    """
    settings = base.running(postgres=True)
    totals, extra = base.run(_totals(settings))
    counts = totals.as_json()
    if json_:
        screen.put_json(counts | extra)
        return
    screen.out.print(screen.table(("", ""), list(rows(totals, extra))))
    tiers = [
        (name, t["answers"], t["attempts"], ", ".join(f"{why} {n}" for why, n in t["falls"].items()), f"${t['cost']}",
         f"{t['input_tokens']}+{t['output_tokens']}", t["mean_ms"] or "")
        for name, t in counts["tiers"].items()
    ]  # fmt: skip
    if tiers:
        screen.out.print(screen.table(("tier", "answers", "attempts", "failed", "cost", "tokens", "mean ms"), tiers))
    if totals.handlers:
        screen.out.print(screen.table(("handler", "requests"), totals.handlers.most_common(15)))


def rows(totals: projections.Totals, extra: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, object]]:
    """What there is, in words for a person. Nothing is said of what there is none of."""
    yield "messages", totals.messages
    yield "workflows", len(totals.workflows)
    counted: list[tuple[str, object]] = [
        ("model calls", totals.calls),
        ("cost", dollars(totals.cost)),
        *((f"results: {name}", count) for name, count in sorted(totals.results.items())),
        ("results: completed, degraded", totals.degraded),
        *((f"degraded by {one_line(why, 80)}", count) for why, count in totals.degraded_by.most_common(5)),
        *((f"path: {name}", count) for name, count in sorted(totals.paths.items())),
        *((f"dead letters: {name}", count) for name, count in sorted(totals.dead.items())),
        *((f"router: {name}", _shown(value)) for name, value in extra["router"].items() if value),
        *((f"approvals: {name}", shown) for name, shown in _approvals(extra.get("approval", {}))),
        *((GATEWAY[name][0], GATEWAY[name][1](value)) for name, value in extra["gateway"].items() if _is_shown(name, value)),
    ]
    yield from ((label, value) for label, value in counted if value)


def _is_shown(name: str, value: object) -> bool:
    """A share of 0% counts calls too; a number of 0, or nothing, is left out."""
    return name in GATEWAY and (bool(value) or isinstance(value, float))


def _shown(value: Any) -> str:
    return one_line(", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else value)


def _shares(value: Mapping[str, float | None]) -> str:
    return one_line(", ".join(f"{name} {percent(share)}" for name, share in value.items() if share is not None))


GATEWAY: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "tiers": ("calls answered, by tier", _shares),
    "primary_success_rate": ("calls answered by the first tier that was tried", percent),
    "mean_ms": ("mean time until an answer", lambda ms: f"{ms} ms"),
    "mean_confidence": ("mean confidence of an answer", percent),
    "confidence": ("mean confidence, by tier", _shares),
    "estimated": ("answers whose cost is an estimate", _shown),
    "learned": ("answers that a model once gave, from the cache", _shown),
    "failed": ("calls without an answer", _shown),
    "circuits_opened": ("circuits opened", _shown),
    "probes": ("probes of endpoints", _shown),
    "retries_granted": ("retries granted", _shown),
}  # the gateway's statistics, each with its name for a person
APPROVALS: Mapping[str, str] = {
    "total_decisions": "actions",
    "statuses": "by what became of them",
    "automation_rate": "approved by the policy alone, %",
    "queue_depth": "waiting for",
    "questions": "questions that wait",
    "ended": "decided by nobody",
    "reviews": "reviews that counted",
    "reviews_refused": "reviews refused",
}


def _approvals(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if figures.get("total_decisions") or figures.get("questions") or figures.get("reviews_refused"):
        for name, words in APPROVALS.items():
            value = figures[name]
            if isinstance(value, Mapping):
                value = {key: count for key, count in value.items() if count}
            if value or isinstance(value, float):
                yield words, _shown(value)


def router_statistics(known: Iterable[tuple[tuple[str, str], Message]]) -> dict[str, Any]:
    """The router's own statistics over these decisions."""
    from services.router.statistics import routed_workflows, summary

    figures = summary(routed_workflows(known))
    return {
        "requests": figures.total_requests,
        "by rule": figures.deterministic,
        "by rule, %": figures.deterministic_pct,
        "by a model": figures.llm_calls,
        "mean cost of a request": figures.avg_cost_per_request,
        "estimated cost": figures.estimated_cost,
        "judged": dict(figures.verdicts),
        "spent on models where a rule would have answered": figures.wasted_cost,
    }


async def _totals(settings: Settings) -> tuple[projections.Totals, dict[str, Any]]:
    from services.approval.statistics import Statistics as Approvals
    from services.gateway.statistics import Statistics

    totals, calls, approvals = projections.Totals(), Statistics(), Approvals()
    decisions: list[tuple[tuple[str, str], Message]] = []
    async with base.record(settings) as store:
        await warn_if_unsettled(store)
        async for batch in store.read_all():
            for stored in batch:
                message = projections.read(stored, settings.topics)
                totals.add(stored, message)
                if message is not None:
                    calls.add(message)
                    approvals.add(stored.stream, message)
                if isinstance(message, RequestRouted | Result):
                    decisions.append(((stored.stream.tenant, stored.stream.workflow), message))
        for workflow in list(dict.fromkeys(key for key, _ in decisions))[-JUDGED:]:
            decisions.extend((workflow, submitted) for submitted in _requests((await store.door_messages(*workflow)).values()))
    return totals, {"router": router_statistics(decisions), "gateway": calls.as_json(), "approval": approvals.as_json()}


def _requests(doors: Iterable[DoorMessage]) -> Iterator[SubmitRequest]:
    for door in doors:
        if door.topic == "requests":
            with contextlib.suppress(Unreadable, Invalid):
                yield decode(SubmitRequest, read(door.body, door.headers).data)
