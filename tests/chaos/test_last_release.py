"""The last release beside today's code, over the same Kafka and Postgres: rolled forward and back, service by service, while
requests flow. Each workflow has one result, no message becomes a dead letter that should not, and no decision differs."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import pytest

from contracts.catalog import SERVICES
from contracts.control import CancelWorkflow
from infra.servers import Servers
from shared.kafka.admin import apply
from tests import releases
from tests.chaos.conftest import LARGE
from tests.deployment import QUESTION, RULE, Deployment
from tests.processes import ROOT
from tests.published import Json

CHECKED: Json = {"id": "draft", "worker": "writer", "verify": "judge"}
STEPS = [CHECKED, {"id": "edit", "worker": "writer", "needs": ["draft"]}, {"id": "read", "worker": "analyst", "verify": "none"}]
REQUESTS: list[Json] = [
    RULE,
    QUESTION,
    {"text": "What is a division bell?", "plan": {"name": "three", "steps": STEPS}},
    {"type": "classify_intent", "data": {"text": "I want my money back."}},
    {"type": "calculate_tax", "data": {"amount": "a lot"}},  # refused
    {"neither": "text nor type"},  # a dead letter, `invalid`, and refused
]
REFUSED, INVALID = (4, 5), 5
AT_ONCE = 60 if LARGE else 8  # requests that wait for their result
BETWEEN = 60 if LARGE else 8  # results with each mixture of old and new
GROUPS: list[tuple[str, ...]] = (
    [(name,) for name in SERVICES] if LARGE else [("planner", "verifier"), ("router", "specialists", "gateway")]
)
ROUNDS = 4 if LARGE else 1  # forward and back


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.last_release(tmp_path_factory.mktemp("release"))


class Load:
    """Requests without end, of every sort in turn; some are cancelled, some have little time."""

    def __init__(self, deployment: Deployment) -> None:
        self.sorts: dict[str, int] = {}  # the place of each request in REQUESTS
        self.hurried: set[str] = set()
        self.cancelled: set[str] = set()
        self._deployment = deployment

    async def flow(self) -> None:
        for number, sort in enumerate(cycle(range(len(REQUESTS)))):
            body, hurried = REQUESTS[sort], sort in (1, 2) and number % 4 == 0
            if hurried:
                body = body | {"deadline": (datetime.now(UTC) + timedelta(seconds=3)).isoformat()}
            [id_] = await self._deployment.ask(body)
            self.sorts[id_] = sort
            if hurried:
                self.hurried.add(id_)
            elif sort in (1, 2, 3) and number % 5 == 0:
                self.cancelled.add(id_)
                await self._deployment.publish(id_, CancelWorkflow.kind, {"by": "the test"})
            while len(self.sorts) - len(self._deployment.results) >= AT_ONCE:
                await asyncio.sleep(0.05)

    def may_end(self, id_: str) -> set[str]:
        """The kinds of result that this request may have."""
        ends = {"refused" if self.sorts[id_] in REFUSED else "completed"}
        ends |= {"failed", "refused"} if id_ in self.hurried else set()
        return {f"hansard.results.{end}.v1" for end in ends | ({"cancelled"} if id_ in self.cancelled else set())}


@contextlib.asynccontextmanager
async def flowing(deployment: Deployment) -> AsyncIterator[Load]:
    load = Load(deployment)
    task = asyncio.create_task(load.flow())
    try:
        yield load
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def moves(seed: int) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Each group in turn and whether it goes to today's code: all go there and all come back, in an order of chance."""
    dice = random.Random(seed)
    for forward in [True, False] * ROUNDS:
        for group in dice.sample(GROUPS, len(GROUPS)):
            yield group, forward


async def move(deployment: Deployment, group: tuple[str, ...], release: Path, *, forward: bool, kill: bool) -> None:
    """The next process of this group begins; then the one before ends, or is killed."""
    before, after = ("old", "new") if forward else ("new", "old")
    name = "+".join(group)
    deployment.serve_from(ROOT if forward else release, *group, instance=after, key=f"{name}/{after}")
    await deployment.ready(f"{name}/{after}")
    await (deployment.kill if kill else deployment.terminate)(f"{name}/{before}")


@pytest.mark.timeout(3600 if LARGE else 600)
async def test_the_last_release_and_todays_code_work_on_the_same_record(servers: Servers, scripted: str, release: Path) -> None:
    async with Deployment.open(servers, scripted, script="ok@30ms", code=release) as deployment:
        for group in GROUPS:
            deployment.serve_from(release, *group, instance="old", key=f"{'+'.join(group)}/old")
        await deployment.ready()
        assert not [change for change in await apply(deployment.settings) if change.error]  # what listens here reads all of today
        async with flowing(deployment) as load:
            await deployment.answered_so_far(BETWEEN)
            await deployment.provision()  # the tables of today, with the code of the release on them
            for number, (group, forward) in enumerate(moves(seed=11)):
                await move(deployment, group, release, forward=forward, kill=LARGE and number % 3 == 2)
                await deployment.answered_so_far(len(deployment.results) + BETWEEN)
        results = await deployment.answered(load.sorts, 240)
        assert [(id_, one.data) for id_, one in results.items() if one.kind not in load.may_end(id_)] == []
        assert Counter(letter.data["reason"] for letter in deployment.dead_letters()) == {
            "invalid": sum(sort == INVALID for sort in load.sorts.values())
        }
        await deployment.at_rest()
        await deployment.is_whole()
        assert (await deployment.verified()).differences == []

        known = set(releases.questioned(release)["kinds"])
        published = {kind for (kind,) in await deployment.rows("select distinct kind from messages")}
        assert {kind for kind in published if kind.startswith("hansard.")} - known == set(), (
            "the last release does not know these kinds: publish them a release after the one that first reads them"
        )
