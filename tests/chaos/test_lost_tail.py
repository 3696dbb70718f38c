"""Kafka loses the end of its topics, which it had acknowledged: every workflow ends, once."""

import asyncio
import shutil
from pathlib import Path

from contracts.catalog import SERVICES
from infra.servers import Servers
from tests import published
from tests.chaos.conftest import LARGE
from tests.deployment import QUESTION, Deployment

WORKFLOWS = 100 if LARGE else 12
CUT = 2 / 3  # of the bytes of each partition's last segment


def cut_tails(data: Path, prefix: str) -> int:
    """Cuts the end off the segments of the topics with this prefix, as a power failure does before a disk has them; forgets what
    else Kafka keeps about them. Returns how many lost something."""
    cut = 0
    for folder in (folder for folder in data.rglob(f"{prefix}*") if folder.is_dir()):
        for segment in folder.glob("*.log"):
            size = segment.stat().st_size
            if size and "requests-" not in folder.name and "control-" not in folder.name:
                with segment.open("r+b") as file:
                    file.truncate(int(size * (1 - CUT)))
                cut += 1
        for kept in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot"), *folder.glob("leader-*")):
            kept.unlink()
    for checkpoint in data.rglob("recovery-point-offset-checkpoint"):
        checkpoint.unlink()
    for checkpoint in data.rglob(".kafka_cleanshutdown"):
        checkpoint.unlink()
    return cut


async def test_what_kafka_has_lost_of_its_tail_hangs_no_workflow(own: Servers, scripted: str) -> None:
    async with Deployment.open(own, scripted, script="ok@1s", HANSARD_WORKFLOW_SECONDS="3000") as deployment:
        deployment.serve_all()
        await deployment.ready()
        ids = await deployment.ask(*[QUESTION | {"text": f"What is motion {n}?"} for n in range(WORKFLOWS)])
        await deployment.answered_so_far(WORKFLOWS // 4)
        for name in SERVICES:
            await deployment.kill(f"{name}/1")
        await deployment.close()
        await asyncio.to_thread(own.stop_broker, 1, kill=True)
        assert cut_tails(own.home / "data", deployment.settings.topic_prefix) > 0
        await asyncio.to_thread(own.start_broker, 1)

        for name in SERVICES:
            deployment.restart(f"{name}/1")
        await deployment.answered(ids, 300)
        await deployment.at_rest()
        for sql in (published.GAPS, published.STREAMS, published.RESULTS, published.EFFECTS, published.IDS):
            assert await deployment.rows(sql) == []
        assert (await deployment.verified()).differences == []


def test_a_tail_is_cut(tmp_path: Path) -> None:
    folder = tmp_path / "kafka" / "t1.results-0"
    folder.mkdir(parents=True)
    (folder / "0.log").write_bytes(b"x" * 30)
    assert cut_tails(tmp_path, "t1.") == 1
    assert (folder / "0.log").stat().st_size == 10
    shutil.rmtree(tmp_path)
