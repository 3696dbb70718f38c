"""A refused key: an answer without a model says so wherever it is seen, and what no text can answer has failed."""

import json

from hansard.client import Client
from infra.servers import Servers, process
from tests import processes
from tests.deployment import QUESTION, RULE, Deployment

CLASSIFY = {"type": "classify_intent", "data": {"text": "I want my money back."}}


async def test_a_refused_key_is_seen_in_the_result_the_terminal_the_counts_and_the_statistics(servers: Servers) -> None:
    model = processes.model(servers)
    try:
        async with Deployment.open(servers, model.address, script="401") as deployment:
            deployment.serve("router", "planner", "specialists", "verifier", "gateway", key="all")
            await deployment.ready()
            rule, question, classify = await deployment.ask(RULE, QUESTION, CLASSIFY)
            results = await deployment.answered([rule, question, classify])
            assert "degraded" not in results[rule].data
            assert results[question].kind == "hansard.results.completed.v1"
            [reason] = results[question].data["degraded"]
            assert reason.startswith("scripted: ") and "401" in reason
            assert results[question].data["contributions"][0]["degraded"] == [reason]
            assert (results[classify].kind, results[classify].data["reason"]) == ("hansard.results.failed.v1", "step-failed")
            assert reason in results[classify].data["detail"]

            asked = json.loads(await deployment.hansard("ask", "What is a quorum?", "--json", code=3))
            assert asked["data"]["degraded"] == [reason]
            file = deployment.folder / "requests.jsonl"
            file.write_text('"What is a quorum?"\n')
            await deployment.hansard("submit", str(file), "--wait", code=3)
            assert json.loads(await deployment.hansard("stats", "--json"))["degraded"] == {"results": 3, "reasons": {reason: 3}}
            async with Client(deployment.settings.kafka, prefix=deployment.settings.topic_prefix) as client:
                assert (await client.result(question)).degraded == (reason,)
            await deployment.at_rest()
            assert (await deployment.verified()).differences == []
    finally:
        process.stop(model)
