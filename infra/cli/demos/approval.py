"""Eight actions that an agent proposes: what the policy lets pass, what waits for a person, two signed reviews, and what ran."""

import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import SecretStr
from rich.text import Text

from contracts.approval import ActionProposed, Person, PersonKey, ReviewAction, stated_expiry
from hansard.codec import encode
from hansard.identity import person_stream
from hansard.reviews import new_key
from hansard.signer import Signer
from infra.audit.approvals import Case
from infra.audit.message import ShownMessage
from infra.audit.text import one_line, percent
from infra.cli import base, screen
from infra.cli.approvals import COLOURS, cost, recorded
from infra.cli.asked import new_request, signed_by
from infra.cli.bus import Bus, Listener, request
from infra.cli.problem import Problem
from infra.cli.reviewing import Reviewer
from infra.cli.running import load
from infra.cli.watching import RESULTS, Printer, shown_message
from services.approval.facts import RegistrationGiven, RemovalGiven
from services.approval.statistics import Statistics
from shared.settings import Settings

PATIENCE = 120.0  # seconds for all of it
REVIEWS = 2  # of those that wait, the first ones are approved
AGENT, REVIEWER, NOTES = "agent@demo.example.org", "alice@demo.example.org", "Approved per policy"
BY = "the demonstration"


class Scenario(NamedTuple):
    """An action as an agent proposes it."""

    name: str
    about: str
    confidence: float
    cost: str
    personal_data: bool = False


SCENARIOS = (
    Scenario("email", "Send order confirmation email", 0.95, "0.01"),
    Scenario("delay", "Process $50 refund for delayed shipment", 0.88, "50"),
    Scenario("address", "Update customer address in database", 0.82, "0", personal_data=True),
    Scenario("outage", "Process $2,500 refund for service outage", 0.75, "2500"),
    Scenario("delete", "Delete user account and all associated data", 0.90, "0", personal_data=True),
    Scenario("faq", "Respond to general FAQ question", 0.92, "0"),
    Scenario("medical", "Recommend treatment plan to patient", 0.45, "0", personal_data=True),
    Scenario("ticket", "Create support ticket for follow-up", 0.89, "0"),
)


def body(scenario: Scenario) -> dict[str, Any]:
    """The request: a plan of one step, which the ledger carries out once its action is approved."""
    gate = {
        "action": {"tool": "ledger", "about": scenario.about, "amount": scenario.cost, "recipient": "customer 4711"},
        "confidence": scenario.confidence,
        "personal_data": scenario.personal_data,
    }
    step = {"id": "act", "worker": "ledger", "verify": "none", "gate": gate}
    plan = {"name": "act-with-approval", "architecture": "human", "steps": [step]}
    return {"text": scenario.about, "plan": plan}


@dataclass
class Run:
    """The demonstration so far: its workflows, in order, and what is known of each."""

    asked: dict[str, Scenario] = field(default_factory=dict)
    results: dict[str, ShownMessage] = field(default_factory=dict)
    assessed: set[str] = field(default_factory=set)

    def process(self, message: ShownMessage) -> bool:
        """Takes a message into account. False for one of other workflows."""
        if message.workflow not in self.asked:
            return False
        if message.name == "assessed":
            self.assessed.add(message.workflow)
        if message.kind.startswith(RESULTS):
            self.results.setdefault(message.workflow, message)
        return True


async def play(settings: Settings, ended: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    """Proposes the eight actions, has two of those that wait approved by a signed review, and waits for what may run."""
    name, run = uuid.uuid4().hex[:4], Run()
    agent = await _registered(settings, AGENT)
    reviewer = Reviewer(REVIEWER, await _registered(settings, REVIEWER, "reviewer"))
    topics = [topic.name for topic in settings.topics.all]
    end = time.monotonic() + PATIENCE
    async with base.known_record(settings) as record, Bus(settings) as bus, bus.listen(topics, record=record) as listener:
        with Printer() as printer:

            async def until(is_so: Callable[[], bool]) -> None:
                while not is_so() and time.monotonic() < end and not ended():
                    await _show(listener, printer, run)

            for scenario in SCENARIOS:
                envelope = signed_by(new_request(body(scenario), id_=f"demo-{name}-{scenario.name}"), agent).envelope
                run.asked[envelope.correlation_id] = scenario
                await bus.publish("requests", envelope)
            await until(lambda: len(run.assessed) == len(SCENARIOS))
            before = _of(run, await recorded(settings))
            reviewed = [case for case in before if case.status == "pending_review"][:REVIEWS]
            for case in reviewed:
                await _approve(bus, case, reviewer)
            may_run = {case.stream.workflow for case in before if case.status == "auto_approved" or case in reviewed}
            await until(lambda: may_run <= run.results.keys())
    for person in (AGENT, REVIEWER):  # nobody keeps their keys
        await _given(settings, person, RemovalGiven(attempt=1, name=person, by=BY))
    after = _of(run, await recorded(settings))
    return lambda: conclude(run, before, after, may_run)


async def _show(listener: Listener, printer: Printer, run: Run) -> None:
    for received in await listener.batch():
        message = shown_message(received)
        if message is not None and run.process(message):
            printer.show(message)


def _of(run: Run, every: Iterable[Case]) -> list[Case]:
    """The demonstration's own, in the order of its scenarios."""
    mine = {case.stream.workflow: case for case in every if case.stream.workflow in run.asked}
    return [mine[workflow] for workflow in run.asked if workflow in mine]


async def _registered(settings: Settings, name: str, *roles: str) -> Signer:
    """A person with these roles and a new key, registered as `hansard people add` does."""
    private, public = new_key()
    person = Person(name=name, roles=roles, keys=(PersonKey(**public),))
    await _given(settings, name, RegistrationGiven(attempt=1, person=person, by=BY))
    as_what = f"as a {', '.join(roles)}" if roles else "without a role"
    screen.note(f"{name} is registered {as_what}, with the key {public['id']}, until the demonstration ends")
    return Signer(name, private)


async def _given(settings: Settings, name: str, fact: RegistrationGiven | RemovalGiven) -> None:
    from shared.runtime.giving import NotTaken, give

    owner = settings.model_copy(update={"postgres": SecretStr(settings.owner)})
    async with base.record(owner) as store:
        stream, approval = person_stream("default", name), load("approval", owner)
        try:
            await give(store, approval, owner, stream, lambda _: fact, f"registration/{uuid.uuid4()}")
        except NotTaken as refused:
            raise Problem(f"Nothing is registered of {name}: {refused}.") from None


async def _approve(bus: Bus, case: Case, who: Reviewer) -> None:
    review = ReviewAction(
        review=secrets.token_hex(16),
        action_id=case.action_id,
        sha256=case.sha256,
        expires_at=stated_expiry(case.asked),
        decision="approve",
        reviewer=who.name,
        notes=NOTES,
    )
    tenant, workflow = case.stream.tenant, case.stream.workflow
    data = encode(who.signed(review, tenant, workflow))
    await bus.publish("approvals.reviews", request(review.review, ReviewAction.kind, data, workflow=workflow, tenant=tenant))


# What is shown


def conclude(run: Run, before: Sequence[Case], after: Sequence[Case], may_run: set[str]) -> None:
    """Prints what was decided, the statistics, and what to look at. Raises Problem where something did not come in time."""
    screen.out.print()
    columns = ("risk", "action", "confidence", "amount", "first", "because", "in the end", "by", "what ran")
    screen.out.print(screen.table(columns, list(_rows(run, before, after))))
    screen.out.print(screen.table(("", ""), list(figures(after))))
    waiting = [case for case in after if case.open]
    if waiting:
        names = ", ".join(case.id for case in waiting)
        screen.out.print(f"\n{len(waiting)} wait for a person, and nothing runs until then: {names}")
        screen.out.print("hansard approvals list    ·    hansard approvals show ID    ·    hansard people add NAME --role senior")
    if before:
        screen.out.print(f"All messages of one: hansard audit show {before[0].stream.workflow}")
    missing = [workflow for workflow in run.asked if workflow not in run.assessed] + sorted(may_run - run.results.keys())
    if missing:
        raise Problem(f"Nothing became of {', '.join(missing)} in time. The services' logs say why; `hansard status` names them.")


def _rows(run: Run, before: Sequence[Case], after: Sequence[Case]) -> Iterator[Sequence[object]]:
    ends = {case.stream.workflow: case for case in after}
    for case in before:
        end = ends[case.stream.workflow]
        result = run.results.get(case.stream.workflow)
        assessed = case.assessed
        yield (
            Text(assessed.risk, COLOURS[assessed.risk]) if assessed else "",
            one_line(case.about, 46),
            percent(case.asked.confidence) if isinstance(case.asked, ActionProposed) else "",
            cost(case),
            case.status,
            assessed.rule if assessed else "",
            "waits" if end.open else end.status,
            ", ".join(getattr(end.end, "by", ())),
            one_line(result.data.get("text") or result.data.get("detail") or "", 40) if result else "",
        )


def figures(found: Iterable[Case]) -> Iterator[tuple[str, object]]:
    """The reference's figures, over these cases."""
    totals = Statistics()
    for case in found:
        for _, message in case.events:
            totals.add(case.stream, message)
    yield "decisions", totals.total_decisions
    for status in ("auto_approved", "pending_review", "escalated", "human_approved", "human_rejected"):
        yield status.replace("_", " "), totals.statuses[status]
    yield "automation rate", f"{totals.automation_rate or Decimal(0)} %"
    yield "the reviewers' queue", totals.queue_depth("reviewers")
    yield "the seniors' queue", totals.queue_depth("seniors")
