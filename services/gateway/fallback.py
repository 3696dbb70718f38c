"""Which tier is next. Pure: the configuration, the call, its failed attempts so far and one recorded time."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from contracts.gateway import AttemptFailed, CallModel, Fall, FallReason
from services.gateway.config import LOCAL_TIERS, Chain, Endpoint
from services.gateway.local_tiers import LocalAnswer, local_answer, miss

NOT_SENT: frozenset[FallReason] = frozenset({"circuit-open", "retry-budget", "miss"})  # no request left this process
TEMPORARY: frozenset[FallReason] = frozenset({"error", "rate-limit", "lost"})  # the same endpoint may do better later
DOUBTFUL: frozenset[FallReason] = frozenset({"error", "timeout", "lost"})  # the endpoint may have acted all the same
Failures = Sequence[AttemptFailed]


def endpoint_at(chain: Chain, call: CallModel, failures: Failures, at: datetime) -> Endpoint | None:
    """The endpoint to call at that time: the best one that is not used up and need not be waited for."""
    if at >= call.deadline:
        return None
    usable = _usable(chain, call, failures)
    return next((endpoint for endpoint, not_before in usable if not_before is None or not_before <= at), None)


def resume_at(chain: Chain, call: CallModel, failures: Failures, at: datetime) -> datetime:
    """When the call goes on after the last of these failures: immediately, which is `at`, or later.

    The call waits for a better endpoint before it takes a worse one, if the wait is short. It waits longer only if no other
    endpoint is left and there is no known answer. It never waits until its deadline or longer.
    """
    waits = [not_before or at for _, not_before in _usable(chain, call, failures)]
    soon = next((wait for wait in waits if wait <= at + timedelta(seconds=chain.patience)), None)
    if (
        soon is None
        and waits
        and local_answer(chain, "cache", call) is None
        and not cache_is_next(chain, call, failures, None, at)
    ):
        soon = min(waits)
    return soon if soon is not None and at < soon < call.deadline else at


def cache_is_next(chain: Chain, call: CallModel, failures: Failures, endpoint: Endpoint | None, at: datetime) -> bool:
    """Whether the cache's index is searched now: once a call, in the cache's place in the order.

    `endpoint`: the next one, or None if none is left.
    """
    if not chain.learns or at >= call.deadline or any(failure.fall.tier == "cache" for failure in failures):
        return False
    better = chain.order[: chain.order.index(endpoint.name)] if endpoint else chain.order
    tiers = [tier for tier in better if tier in LOCAL_TIERS]
    if "cache" not in tiers:
        return False
    return not any(local_answer(chain, tier, call) for tier in tiers[: tiers.index("cache") + 1])


def _usable(chain: Chain, call: CallModel, failures: Failures) -> Iterator[tuple[Endpoint, datetime | None]]:
    """Endpoints that may still be called, best first, each with the time before which it must not be called."""
    for endpoint in chain.serving(call.model_class):
        own = [failure for failure in failures if failure.fall.tier == endpoint.name]
        reasons = [failure.fall.reason for failure in own]
        temporary = sum(reason in TEMPORARY for reason in reasons)
        unusable = reasons.count("invalid-output")
        if temporary + unusable == len(reasons) and temporary <= endpoint.max_retries and unusable <= chain.repairs:
            yield endpoint, own[-1].retry_at if own else None


def answer_without_model(
    chain: Chain, call: CallModel, failures: Failures, at: datetime
) -> tuple[LocalAnswer | None, tuple[Fall, ...]]:
    """The best answer without a model, and every fall before it."""
    falls = [failure.fall for failure in failures]
    if not chain.endpoints:
        falls.append(Fall(tier="endpoints", reason="no-endpoint", detail="no endpoint is configured"))
    tried = {fall.tier for fall in falls}
    for tier in chain.order:
        if endpoint := chain.by_name.get(tier):
            if at >= call.deadline and tier not in tried:
                falls.append(_too_late(endpoint))
        elif answer := local_answer(chain, tier, call):
            return answer, tuple(falls)
        elif tier not in tried:
            falls.append(miss(tier, call))
    return None, tuple(falls)


def falls_before(chain: Chain, failures: Failures, tier: str) -> tuple[Fall, ...]:
    """The falls of a call that this endpoint answered: failed attempts, and tiers without a model placed before it."""
    better = chain.order[: chain.order.index(tier)] if tier in chain.order else ()
    falls = tuple(failure.fall for failure in failures)
    tried = {fall.tier for fall in falls}
    return (*falls, *(miss(local) for local in better if local in LOCAL_TIERS and local not in tried))


def answered_before(chain: Chain, call: CallModel, endpoint: Endpoint) -> bool:
    """Whether a tier without a model that is placed before this endpoint has an answer."""
    better = chain.order[: chain.order.index(endpoint.name)]
    return any(local_answer(chain, tier, call) for tier in better if tier in LOCAL_TIERS)


def _too_late(endpoint: Endpoint) -> Fall:
    return Fall(
        tier=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        reason="timeout",
        detail="the deadline of the call had passed before it could be asked",
    )
