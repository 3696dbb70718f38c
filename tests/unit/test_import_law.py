"""Who may import whom, and what a pure module may not know. The table is the law; every file of ours is read."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("hansard", "contracts", "shared", "services", "infra", "tests")

ROOMS = {  # a room, and the rooms it may import
    "shared/hansard/*": {"hansard"},
    "contracts/*": {"contracts", "hansard"},
    "shared/*": {"shared", "contracts", "hansard"},
    "services/*": {"services", "shared", "contracts", "hansard"},  # of the services only itself: see `_strangers`
    "infra/*": {"infra", "services", "shared", "contracts", "hansard"},
}
HOMES: dict[str, str | tuple[str, ...]] = {  # a library, and where alone contracts, shared and services may import it
    "asyncpg": "shared/eventstore/postgres/*",
    "obstore": "shared/content/bucket.py",
    "openai": "services/gateway/performer/openai_client.py",
    "aiokafka": ("shared/kafka/*", "shared/hansard/client.py"),
    "httpx2": ("shared/webhooks/sender.py", "services/gateway/performer/openai_client.py"),
    "standardwebhooks": "shared/webhooks/signing.py",
    "joserfc": "shared/identity/tokens.py",
    "starlette": "services/edge/performer/http.py",
    "faststream": (),  # it serves typed workers of a user's own
}
INFRA_TOO = {"aiokafka", "asyncpg", "faststream", "openai"}  # libraries for which this holds in infra too
PURE = ["contracts/*", "shared/hansard/decider.py", "shared/runtime/processor.py", "services/*"]
NOT_PURE = ["services/*/performer.py", "services/*/performer/*", "services/*/metrics.py", "services/*/app.py"]
NOT_PURE += ["services/ledger/book.py"]
WORLD = {"asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "os", "time", "random", "secrets"}
WORLD |= {"socket", "ssl", "http", "urllib.request", "httpx", "httpx2", "requests", "aiohttp", "uvicorn"}
WORLD |= {"asyncpg", "sqlite3", "aiokafka", "faststream", "openai", "opentelemetry", "prometheus_client", "structlog"}
CLOCKS_AND_DICE = {"now", "utcnow", "today", "uuid1", "uuid4", "monotonic", "perf_counter", "new_key"}

LOCAL_CLOCK = {"datetime.now", "datetime.datetime.now", "datetime.utcnow", "datetime.today", "time.time", "time.time_ns"}


def broken(path: str, source: str) -> list[str]:
    """What in this file is against the law, a sentence each."""
    tree = ast.parse(source)
    imports = sorted(set(_imports(path, tree)))
    found = [*_strangers(path, imports), *_homeless(path, imports), *(_worldly(imports, tree) if _is_pure(path) else [])]
    return [*found, *(_by_the_local_clock(tree) if path.startswith("services/") else [])]


def _strangers(path: str, imports: list[str]) -> Iterator[str]:
    allowed = next((rooms for room, rooms in ROOMS.items() if fnmatch(path, room)), set(OURS))
    own = path.split("/")[1].removesuffix(".py")
    for name in imports:
        room, _, rest = name.partition(".")
        if room in OURS and room not in allowed:
            yield f"imports {name}"
        elif room == "services" and path.startswith("services/") and rest.split(".")[0] not in ("", own):
            yield f"imports another service: {name}"


def _homeless(path: str, imports: list[str]) -> Iterator[str]:
    for name in imports:
        library = name.split(".")[0]
        home = HOMES.get(library, "*")
        homes = (home,) if isinstance(home, str) else home
        exempt = ("tests/",) if library in INFRA_TOO else ("infra/", "tests/")
        if not path.startswith(exempt) and not any(fnmatch(path, home) for home in homes):
            yield f"imports {name}, which belongs in {' or '.join(homes) or 'no room of ours'}"


def _worldly(imports: list[str], tree: ast.Module) -> Iterator[str]:
    for name in imports:
        if any(name == one or name.startswith(f"{one}.") for one in WORLD):
            yield f"is pure, and imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            yield f"is pure, and {node.name} is async"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in CLOCKS_AND_DICE:
                yield f"is pure, and calls {called}() in line {node.lineno}"


def _by_the_local_clock(tree: ast.Module) -> Iterator[str]:
    """A performer too goes by the store's clock: `Desk.now`. Durations are monotonic."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in LOCAL_CLOCK:
            yield f"asks the local clock in line {node.lineno}"


def _is_pure(path: str) -> bool:
    return any(fnmatch(path, one) for one in PURE) and not any(fnmatch(path, one) for one in NOT_PURE)


def _imports(path: str, tree: ast.Module) -> Iterator[str]:
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "path", [str(file.relative_to(ROOT)) for room in OURS[1:5] for file in sorted((ROOT / room).rglob("*.py"))]
)
def test_every_file_keeps_the_import_law(path: str) -> None:
    assert broken(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("contracts/planner.py", "from shared.settings import Settings"),
        ("contracts/planner.py", "import time"),
        ("shared/hansard/decider.py", "from contracts.planner import RunPlan"),
        ("contracts/planner.py", "def f():\n    from urllib import request"),
        ("shared/kafka/consumer.py", "import services.router"),
        ("shared/eventstore/memory.py", "import asyncpg"),
        ("shared/runtime/loop.py", "from aiokafka import AIOKafkaProducer"),
        ("shared/runtime/loop.py", "from infra import servers"),
        ("services/planner/app.py", "from services.router.decider import decide"),
        ("services/planner/app.py", "from services import router"),
        ("services/planner/app.py", "from ..router import decider"),
        ("services/planner/app.py", "import openai"),
        ("services/planner/decider.py", "import asyncio"),
        ("services/planner/graph.py", "async def decide(): ..."),
        ("services/planner/graph.py", "from datetime import datetime\nat = datetime.now()"),
        ("services/planner/graph.py", "from uuid import uuid4\nname = uuid4()"),
        ("services/approval/proof.py", "from hansard import reviews\nkey = reviews.new_key()"),
        ("services/gateway/performer/endpoint_guard.py", "from datetime import UTC, datetime\nat = datetime.now(UTC)"),
        ("services/gateway/performer/openai_client.py", "import time\nat = time.time()"),
        ("services/gateway/performer/endpoint_guard.py", "import openai"),
        ("services/gateway/openai_wire/answer.py", "import time"),
        ("infra/cli/main.py", "import tests.told"),
        ("infra/servers/postgres.py", "def ready():\n    import asyncpg"),
        ("infra/cli/doctor.py", "import openai"),
        ("infra/cli/bus.py", "def f():\n    from aiokafka.admin import NewTopic"),
        ("shared/kafka/consumer.py", "from faststream.kafka import KafkaBroker"),
    ],
)
def test_a_breach_is_seen(path: str, source: str) -> None:
    assert broken(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("shared/eventstore/postgres/session.py", "import asyncpg, asyncio, hansard.message"),
        ("shared/kafka/consumer.py", "from aiokafka import AIOKafkaConsumer"),
        (
            "services/gateway/performer/openai_client.py",
            "import openai, asyncio, time\nbegan, at = time.perf_counter(), context.now()",
        ),
        (
            "services/planner/app.py",
            "from . import decider\nfrom services.planner import decider\nfrom hansard.service import Service",
        ),
        ("services/planner/decider.py", "from datetime import datetime, timedelta\nfrom uuid import UUID"),
        ("services/approval/proof.py", "from hansard.reviews import statement, verified"),
        ("infra/cli/main.py", "from services import planner, router\nfrom shared.eventstore.postgres.admin import connected"),
    ],
)
def test_what_is_allowed_is_not_called_a_breach(path: str, source: str) -> None:
    assert broken(path, source) == []
