"""What `doctor` says about people: whether what they review is proven to be theirs."""

from infra.cli.finding import Finding, one_line
from shared.settings import UNPROVEN, Settings


async def identities(settings: Settings) -> list[Finding]:
    """Whether people's identities are proven."""
    from shared.kafka.access import RULES_NEEDED, others_may_write, writable
    from shared.kafka.errors import KafkaError

    if settings.unproven_identities:
        return [Finding("identities", UNPROVEN, "unset HANSARD_UNPROVEN_IDENTITIES, and register people: hansard people add")]
    try:
        open_ = await writable(settings, settings.reviewer_topics) if settings.kafka else []
    except (KafkaError, OSError) as failed:
        return [
            Finding(
                "identities",
                f"whether others may write to a person's own topic is not known: {one_line(failed)}",
                "hansard topics",
            )
        ]
    if open_:
        return [Finding("identities", others_may_write(settings, open_), RULES_NEEDED)]
    proof = f"by a signature, a token or a topic of their own ({len(settings.reviewer_topics)} of these)"
    return [Finding("identities", f"proven {proof}; environment: {settings.environment}")]
