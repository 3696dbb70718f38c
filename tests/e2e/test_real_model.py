"""A real, small language model answers; its text is not checked."""

from infra.servers import MODEL_NAME, Servers
from tests.deployment import Deployment


async def test_the_small_local_model_answers_under_its_own_name(servers: Servers) -> None:
    address = servers.up(kafka=False, postgres=False).model
    async with Deployment.open(servers, "", HANSARD_MODEL_URL=address, HANSARD_MODEL_NAME=MODEL_NAME) as deployment:
        deployment.serve("all")
        await deployment.ready()
        [id_] = await deployment.ask({"text": "What is the capital of France? Answer in one sentence."})
        result = (await deployment.answered([id_]))[id_]
        replies = [one.data for one in deployment.published if one.kind == "hansard.gateway.model-replied.v1"]
        assert replies
        assert all(reply["model"] == MODEL_NAME and reply["output_tokens"] > 0 for reply in replies)
        parts = result.data.get("contributions", []) + result.data.get("partial", [])
        assert result.kind in ("hansard.results.completed.v1", "hansard.results.failed.v1")
        assert all(part["model"] == MODEL_NAME for part in parts)
        await deployment.at_rest()
        await deployment.is_whole()
