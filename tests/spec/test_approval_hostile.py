"""Thousands of hostile reviews with real keys and real signatures: none counts, and each refusal is on record with its reason.

`HANSARD_CHAOS=large` makes 10,000 of them. The seed is printed; `HANSARD_SEED` gives it again.
"""

import base64
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from contracts.approval import ReviewAccepted, ReviewAction, ReviewRefused
from hansard.actions import Action, action_bytes
from hansard.message import Message
from tests.spec.approval_kit import ALICE, BOB, CAROL, DELETE, DOOR, REFUND, SENIOR, Approvals, Someone, kinds, sha_of

ATTACKS = 10_000 if os.environ.get("HANSARD_CHAOS") == "large" else 400
BATCH = 12  # sent together, before registrations are read

BOSS = Someone(BOB.name, ("senior",))  # may decide anything but what he asked for
REPLACED = Someone("dora@example.org")
DORA = Someone("dora@example.org")
GONE = Someone("gone@example.org", ("senior",))
AWAY = Someone("anna@example.org")
MALLORY = Someone("mallory@example.org")


class Attack(NamedTuple):
    review: ReviewAction
    reasons: set[str]
    topic: str = DOOR


@dataclass
class World:
    """`pay.1` waits for three approvals and has Alice's; `del.1` for a senior; `done.1` is approved, `late.1` expired."""

    random: Random
    approvals: Approvals = field(default_factory=lambda: Approvals(ALICE, CAROL, SENIOR, BOSS, REPLACED, GONE, AWAY))
    counted: list[ReviewAction] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.approvals
        world.register(DORA.person)
        world.remove(GONE.name)
        world.propose(action_id="late.1", seconds=60.0)
        world.pass_time(timedelta(minutes=2))
        world.propose(quorum=3)
        world.propose(DELETE, action_id="del.1")
        world.propose(action_id="done.1")
        self.count(ALICE)
        self.count(ALICE, action_id="done.1")
        self.count(AWAY, "delegate", to=CAROL.name)

    def count(self, who: Someone, decision: str = "approve", **more: Any) -> None:
        self.counted.append(self.approvals.written(who, decision, **more))
        [accepted] = [one for one in self.approvals.send(self.counted[-1], DOOR) if isinstance(one, ReviewAccepted)]
        assert accepted.review == self.counted[-1]

    def genuine(self, who: Someone, decision: str = "approve", **more: Any) -> ReviewAction:
        more.setdefault("sha256", sha_of(DELETE if more.get("action_id") == "del.1" else REFUND))
        return self.approvals.written(who, decision, **more)

    def attack(self) -> Attack:
        return self.random.choice(ATTACKERS)(self)


def forged(world: World) -> Attack:
    signature = base64.b64encode(world.random.randbytes(64)).decode()
    return Attack(
        world.genuine(world.random.choice((CAROL, SENIOR))).model_copy(update={"signature": signature}), {"bad-signature"}
    )


def under_anothers_name(world: World) -> Attack:
    """Signed by an attacker's own key, with the name of one who may and with either key's id."""
    victim = world.random.choice((CAROL, SENIOR))
    review = world.genuine(MALLORY, reviewer=victim.name)
    return Attack(review.model_copy(update={"key": world.random.choice((MALLORY.key.id, victim.key.id))}), {"bad-signature"})


def mutated(world: World) -> Attack:
    harmful = action_bytes(Action(tool="ledger", about="Everything to Mallory", amount="999999")).decode()
    changes = (
        ({"notes": "really"}, {"bad-signature"}),
        ({"decision": "reject"}, {"bad-signature"}),
        ({"decision": "edit", "edited": harmful}, {"bad-signature"}),
        ({"decision": "delegate", "to": ALICE.name}, {"bad-signature"}),
        ({"review": f"mutated-{world.random.getrandbits(64)}"}, {"bad-signature"}),
        ({"reviewer": SENIOR.name}, {"bad-signature"}),
        ({"sha256": sha_of(DELETE)}, {"other-bytes"}),
        ({"action_id": "done.1"}, {"not-open"}),
        ({"decision": "answer", "answer": "yes"}, {"invalid"}),
    )
    change, reasons = world.random.choice(changes)
    return Attack(world.genuine(CAROL).model_copy(update=change), reasons)


def replayed(world: World) -> Attack:
    return Attack(world.random.choice(world.counted), {"used"})


def of_another_place(world: World) -> Attack:
    """Signed by the right person about the same action of another workflow, or tenant."""
    review = world.genuine(CAROL)
    elsewhere = {"workflow": "wf-2"} if world.random.random() < 0.5 else {"tenant": "other"}
    return Attack(CAROL.signed(review, **elsewhere), {"bad-signature"})


def late(world: World) -> Attack:
    return Attack(world.genuine(SENIOR, action_id="late.1", sha256=sha_of(REFUND)), {"not-open"})


def self_made(world: World) -> Attack:
    name = world.random.choice((BOB.name, BOB.name.upper(), f" {BOB.name}", "ｂｏｂ@example.org"))
    decision = world.random.choice(("approve", "reject", "ask"))
    return Attack(world.genuine(BOSS, decision, reviewer=name, question="?"), {"own-request"})


def given_to_the_requester(world: World) -> Attack:
    return Attack(world.genuine(CAROL, "delegate", to=BOB.name.title()), {"own-request"})


def of_the_wrong_role(world: World) -> Attack:
    decision = world.random.choice(("approve", "reject"))
    return Attack(world.genuine(world.random.choice((ALICE, CAROL)), decision, action_id="del.1"), {"wrong-role"})


def edited_beyond_the_role(world: World) -> Attack:
    return Attack(world.genuine(CAROL, "edit", edited=action_bytes(DELETE).decode()), {"wrong-role"})


def of_a_key_that_is_no_more(world: World) -> Attack:
    return Attack(world.genuine(world.random.choice((REPLACED, GONE))), {"revoked"})


def of_nobody(world: World) -> Attack:
    who = Someone(f"mallory.{world.random.getrandbits(32)}@example.org", private=MALLORY.private)
    return Attack(world.genuine(who), {"unknown-person"})


def unsigned(world: World) -> Attack:
    review = world.genuine(SENIOR).model_copy(update={"signature": "", "key": world.random.choice(("", SENIOR.key.id))})
    return Attack(review, {"unproven"}, world.random.choice((DOOR, "approvals.reviews.mallory")))


def twice(world: World) -> Attack:
    return Attack(world.genuine(ALICE), {"decided-already"})


def of_one_who_delegated(world: World) -> Attack:
    return Attack(world.genuine(AWAY), {"delegated"})


def of_nothing(world: World) -> Attack:
    return Attack(world.genuine(SENIOR, action_id="pay.9", sha256=sha_of(REFUND)), {"unknown-action"})


ATTACKERS: tuple[Callable[[World], Attack], ...] = (
    forged,
    under_anothers_name,
    mutated,
    replayed,
    of_another_place,
    late,
    self_made,
    given_to_the_requester,
    of_the_wrong_role,
    edited_beyond_the_role,
    of_a_key_that_is_no_more,
    of_nobody,
    unsigned,
    twice,
    of_one_who_delegated,
    of_nothing,
)


def test_no_hostile_review_counts_and_each_refusal_is_on_record() -> None:
    seed = os.environ.get("HANSARD_SEED") or str(Random().getrandbits(64))
    print(f"HANSARD_SEED={seed}")
    world, found = World(Random(seed)), Counter[str]()
    before = {name: world.approvals.state(name) for name in ("pay.1", "del.1", "done.1", "late.1")}
    while found.total() < ATTACKS:
        attacks = {attack.review.review: attack for attack in (world.attack() for _ in range(BATCH))}
        stored: list[Message] = []
        for attack in attacks.values():
            stored += world.approvals.there.send(attack.review, topic=attack.topic)
        stored += world.approvals.read()
        assert not any(isinstance(one, ReviewAccepted) for one in stored)
        refused = [one for one in stored if isinstance(one, ReviewRefused)]
        assert sorted(one.review for one in refused) == sorted(attacks)
        for one in refused:
            assert one.reason in attacks[one.review].reasons, f"{one!r} of {attacks[one.review]!r}"
            found[one.reason] += 1
    print(dict(found))
    assert len(found) >= 12
    for name, state in before.items():
        assert _decided(world.approvals.state(name)) == _decided(state)
    world.approvals.review(CAROL)  # and whoever may decide still does
    assert kinds(world.approvals.review(SENIOR))[-1] == "ActionApproved"


def _decided(state: Any) -> tuple[Any, ...]:
    """All that counts of a state."""
    return type(state), *(getattr(state, name, None) for name in ("sha256", "approvals", "rights", "away", "asked", "expires_at"))
