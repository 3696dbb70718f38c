"""`signal`: tells a workflow that an event has come, for which one of its steps waits."""

import json
import uuid
from typing import Annotated

import typer
from pydantic import ValidationError

from contracts.control import SignalWorkflow
from hansard.codec import encode
from hansard.envelope import TENANT, Envelope
from hansard.identity import client_id
from infra.cli import base, screen
from infra.cli.asked import attributes_named
from infra.cli.bus import Bus, request
from infra.cli.options import Tenant
from infra.cli.plan_files import problems
from infra.cli.problem import Problem
from shared.json_text import BadJson, parsed
from shared.settings import Settings


def signal(
    workflow: Annotated[str, typer.Argument(metavar="ID", help="The workflow.")],
    event: Annotated[str, typer.Argument(help="The event, as the step of its plan names it.")],
    data: Annotated[str, typer.Option(help="What came, as JSON: it is the step's answer.")] = "null",
    by: Annotated[str, typer.Option(help="Who tells it; stored with the event.")] = "hansard",
    tenant: Tenant = TENANT,
) -> None:
    """Tell a workflow that an event has come. The first one of a name counts, also where it comes before its step waits for it.

    Example: hansard signal ask-1f0b6f7a9c11 payment-received --data '{"amount": "99.50"}'
    """
    try:
        told = SignalWorkflow.model_validate({"name": event, "data": parsed(data), "by": by})
    except BadJson as bad:
        raise Problem(f"--data must be JSON, as {json.dumps('paid')} or {json.dumps({'amount': '5'})}: {bad}.", code=2) from None
    except ValidationError as invalid:
        raise Problem(f"No workflow can be told that: {problems(invalid)}.", code=2) from None
    settings = base.running(kafka=True)
    try:
        name = client_id("signal", uuid.uuid4())
        envelope = request(name, SignalWorkflow.kind, encode(told), workflow=workflow, tenant=tenant)
    except ValueError as bad:
        raise Problem(f"Nobody was told: {attributes_named(bad)}", code=2) from None
    base.run(_publish(settings, envelope))
    screen.note(f"The event {event} is published; `hansard watch {workflow}` shows what follows.")


async def _publish(settings: Settings, envelope: Envelope) -> None:
    async with Bus(settings) as bus:
        await bus.publish("control", envelope)
