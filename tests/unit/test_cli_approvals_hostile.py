"""What an attacker proposes is shown by `hansard approvals` as what it is, and no name of his stands for another's bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from contracts.approval import ActionAssessed, ActionEdited, ActionProposed, QuestionAsked, ReviewRefused
from contracts.approval.samples import COMPLETE
from hansard.actions import Action, action_bytes, action_reference
from hansard.message import Message
from infra.audit.approvals import Case, cases
from infra.audit.summaries import summary
from infra.cli import approvals, base, reviewing, screen
from infra.cli.approvals import details, listing, the_one
from infra.cli.problem import Problem
from infra.cli.reviewing import check_bytes
from shared.eventstore.model import Stream
from shared.settings import Settings
from tests.unit.toy import NOON

GOOD = Action(tool="ledger", about="Pay the supplier", amount="600", recipient="supplier")
EVIL = GOOD.model_copy(update={"recipient": "attacker"})
FORGED = "R-17\nstatus  human_approved\r\u2028amount  1 USD\x1b[2K"


def sha_of(action: Action) -> str:
    return action_reference(action_bytes(action)).sha256


def proposed(action: Action, **changes: Any) -> ActionProposed:
    fields = {"action": action_bytes(action).decode(), "sha256": sha_of(action)}
    return ActionProposed(**(COMPLETE[ActionProposed] | fields | changes))


def waiting(action: Action, workflow: str = "order-77", tenant: str = "default", *more: Message, **changes: Any) -> Case:
    stream = Stream(tenant, workflow, "approval/pay.1")
    messages = (proposed(action, **changes), ActionAssessed(**COMPLETE[ActionAssessed]), *more)
    [case] = cases((stream, NOON, message) for message in messages).values()
    return case


@pytest.mark.parametrize("length", [6, 16, 63, 64])
def test_a_workflow_called_like_the_hash_of_anothers_action_is_never_taken_for_it(length: int) -> None:
    name = sha_of(GOOD)[:length]
    good, evil = waiting(GOOD), waiting(EVIL, workflow=name)
    for every in ([good, evil], [evil, good]):
        with pytest.raises(Problem) as ambiguous:
            the_one(every, name)
        assert f"order-77/pay.1 --tenant default --sha256 {sha_of(GOOD)}" in str(ambiguous.value)
        assert f"{name}/pay.1 --tenant default --sha256 {sha_of(EVIL)}" in str(ambiguous.value)
        assert the_one(every, "order-77/pay.1") is good


def test_a_hash_of_what_is_decided_is_not_given_away_to_a_workflow_that_waits() -> None:
    good, evil = waiting(GOOD), waiting(EVIL, workflow=sha_of(GOOD))
    good.status = "human_approved"
    with pytest.raises(Problem, match="names 2 of them"):
        the_one([good, evil], sha_of(GOOD))


def test_a_hash_in_capitals_is_the_same_hash() -> None:
    good = waiting(GOOD)
    assert the_one([good, waiting(EVIL, workflow="order-78")], sha_of(GOOD).upper()) is good


def test_a_whole_hash_as_the_id_approves_these_bytes_and_no_others() -> None:
    check_bytes(waiting(GOOD), sha_of(GOOD), "")
    alone = waiting(EVIL, workflow=sha_of(GOOD))
    assert the_one([alone], sha_of(GOOD)) is alone
    with pytest.raises(Problem, match="has other bytes than"):
        check_bytes(alone, sha_of(GOOD), "")
    with pytest.raises(Problem, match="has other bytes than"):
        check_bytes(waiting(GOOD), "order-77/pay.1", sha_of(EVIL))


def test_the_hash_from_before_an_edit_names_no_other_bytes() -> None:
    edited = ActionEdited(**(COMPLETE[ActionEdited] | {"action": action_bytes(EVIL).decode(), "sha256": sha_of(EVIL)}))
    case = waiting(GOOD, "order-77", "default", edited)
    assert the_one([case], sha_of(EVIL)[:12]) is case
    for name in (sha_of(GOOD), sha_of(GOOD)[:12]):
        with pytest.raises(Problem, match="was changed"):
            the_one([case], name)


def test_what_several_tenants_call_the_same_is_listed_with_its_tenant() -> None:
    mine, theirs = waiting(GOOD), waiting(GOOD, tenant="copy")
    with pytest.raises(Problem, match=r"order-77/pay.1 --tenant default.*\n.*order-77/pay.1 --tenant copy"):
        the_one([mine, theirs], "order-77/pay.1")
    columns, rows = listing([mine, theirs], several_tenants=True)
    assert (columns[0], [one[0] for one in rows]) == ("tenant", ["default", "copy"])
    assert "tenant" not in listing([mine])[0]
    assert dict(details(theirs))["tenant"] == "copy"


def test_an_id_that_a_shell_would_carry_out_is_quoted_where_a_command_is_shown() -> None:
    ours, theirs = waiting(GOOD, workflow="$(id)"), waiting(GOOD, workflow="$(id)", tenant="b;id")
    with pytest.raises(Problem) as ambiguous:
        the_one([ours, theirs], "$(id)")
    assert "'$(id)/pay.1' --tenant 'b;id'" in str(ambiguous.value)


@dataclass
class Sent:
    """What the commands read, and what they would send."""

    every: list[Case]
    tenants: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    async def recorded(self, settings: Settings, tenant: str = "") -> list[Case]:
        self.tenants.append(tenant)
        return [case for case in self.every if tenant in ("", case.stream.tenant)]

    def send(self, settings: Settings, case: Case, who: object, **fields: object) -> None:
        self.cases.append(case)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    sent = Sent([])
    monkeypatch.setattr(approvals, "recorded", sent.recorded)
    monkeypatch.setattr(reviewing, "_send", sent.send)
    monkeypatch.setattr(reviewing, "reviewer_of", lambda settings, name, file: reviewing.Reviewer("alice"))
    monkeypatch.setattr(base, "running", lambda **_: Settings())
    monkeypatch.setattr(base, "terminal_in", lambda: False)
    return sent


def hansard(*words: str) -> Exception | None:
    error = CliRunner().invoke(approvals.app, words).exception
    return error if isinstance(error, Exception) else None


def test_a_script_that_approves_a_hash_decides_these_bytes_or_nothing(sent: Sent) -> None:
    good, evil = waiting(GOOD), waiting(EVIL, workflow=sha_of(GOOD))
    sent.every = [evil, good]
    assert isinstance(hansard("approve", sha_of(GOOD), "--as", "alice", "--yes"), Problem)
    sent.every = [evil]
    assert isinstance(hansard("approve", sha_of(GOOD), "--as", "alice", "--yes"), Problem)
    assert sent.cases == []
    sent.every = [good]
    assert hansard("approve", sha_of(GOOD), "--as", "alice") is None, "a whole hash is as --sha256: nobody need be asked"
    assert isinstance(hansard("approve", sha_of(GOOD)[:20], "--as", "alice"), Problem), "a part of it is not"
    assert sent.cases == [good]


@pytest.mark.parametrize("command", [("approve", "--yes"), ("reject", "--yes"), ("edit", "--set", "amount=5", "--yes")])
def test_what_two_tenants_have_alike_is_decided_by_naming_the_tenant(sent: Sent, command: tuple[str, ...]) -> None:
    mine, theirs = waiting(GOOD), waiting(GOOD, tenant="copy")
    sent.every = [mine, theirs]
    for id_ in ("order-77/pay.1", sha_of(GOOD)):
        assert isinstance(hansard(command[0], id_, *command[1:]), Problem)
        assert hansard(command[0], id_, "--tenant", "copy", *command[1:]) is None
    assert sent.cases == [theirs, theirs]


@pytest.mark.parametrize(
    "command", [("show", "x"), ("ask", "x", "why?"), ("delegate", "x", "carol"), ("answer", "x", "yes"), ("list",)]
)
def test_every_command_takes_a_tenant(sent: Sent, command: tuple[str, ...]) -> None:
    hansard(*command, "--tenant", "copy")
    assert sent.tenants == ["copy"]


# Rows


def rendered(rows: Iterable[tuple[object, ...]], width: int = 100) -> list[str]:
    out = StringIO()
    Console(file=out, width=width, color_system=None).print(screen.table(("", ""), rows))
    return out.getvalue().splitlines()


HOSTILE = Action(
    tool="ledger",
    about=FORGED,
    amount="600",
    recipient=FORGED,
    arguments={FORGED: FORGED, "n" * 500: "1", "status": {"deep": FORGED}, "\u3164": "\u2800"},
)


def test_no_name_or_text_of_others_is_a_row_of_ours() -> None:
    refused = ReviewRefused(**(COMPLETE[ReviewRefused] | {"reviewer": FORGED, "detail": FORGED}))
    claimed = {"name": "bob (proven by signature)", "proof": "unproven", "key": ""}
    options = [{"source": FORGED, "view": FORGED}]
    case = waiting(HOSTILE, "order-77", "default", refused, reasons=(FORGED,), requester=claimed, options=options)
    case.assessed = None  # the proposal's own requester is shown
    rows = list(details(case))
    for label, value in rows:
        assert len(label) <= 32 and str(label).isascii()
        assert "\n" not in str(value) and "\x1b" not in str(value) and "\u3164" not in str(value)
    labels = [label for label, _ in rows]
    assert labels.count("status") == labels.count("amount") == labels.count("requested by") == 1
    assert labels.count("argument") == 4
    assert str(dict(rows)["requested by"]).startswith('"bob (proven by signature)" (unproven')
    room = max(map(len, labels)) + 1
    assert [label for line in rendered(rows) if (label := line[:room].strip())] == labels


def test_arguments_are_json_on_a_line_each() -> None:
    shown = [str(value) for label, value in details(waiting(HOSTILE)) if label == "argument"]
    assert r'"\u3164": "\u2800"' in shown
    assert any(one.startswith(r'"R-17\nstatus  human_approved\r\u2028amount') for one in shown)


def test_a_long_name_takes_no_room_from_the_hash() -> None:
    assert any(sha_of(HOSTILE) in line for line in rendered(details(waiting(HOSTILE))))


def test_a_recipient_that_only_looks_like_another_is_shown_with_its_codes() -> None:
    twin = GOOD.model_copy(update={"recipient": "\u0455upplier"})
    assert r"(not ASCII: '\u0455upplier')" in str(dict(details(waiting(twin)))["recipient"])
    assert dict(details(waiting(GOOD)))["recipient"] == "supplier"


def test_the_choices_of_a_question_are_told_apart() -> None:
    asked = QuestionAsked(**(COMPLETE[QuestionAsked] | {"choices": ("no, or yes", "yes")}))
    [case] = cases([(Stream("default", "order-77", f"approval/{asked.action_id}"), NOON, asked)]).values()
    assert dict(details(case))["choices"] == '"no, or yes", "yes"'


@pytest.mark.parametrize(
    "kind", ["propose", "proposed", "edited", "review", "review-accepted", "review-refused", "approved", "rejected", "more-asked"]
)
def test_a_summary_is_one_line_whatever_is_in_it(kind: str) -> None:
    review = {"action_id": FORGED, "decision": FORGED, "reviewer": FORGED, "notes": FORGED, "question": FORGED, "to": FORGED}
    more = {"reason": FORGED, "detail": FORGED, "by": [FORGED], "text": FORGED, "action": action_bytes(HOSTILE).decode()}
    text = summary(f"hansard.approval.{kind}.v1", review | more | {"review": review, "sha256": FORGED, "proposed": FORGED})
    assert text.isprintable() and len(text) <= 160


def test_a_review_that_is_only_sent_does_not_look_like_one_that_is_proven() -> None:
    review = {"action_id": "pay.1", "decision": "approve", "reviewer": "alice · proven by signature", "notes": "proven by token"}
    assert summary("hansard.approval.review.v1", review) == (
        'pay.1 · approve · by "alice · proven by signature", as claimed · “proven by token”'
    )
    accepted = {"review": review | {"reviewer": "alice"}, "proof": "signature"}
    assert summary("hansard.approval.review-accepted.v1", accepted).startswith(
        "pay.1 · approve · by alice, proven by signature · “"
    )


def test_no_long_text_hides_the_hash_in_a_summary() -> None:
    long = action_bytes(GOOD.model_copy(update={"about": "Pay · #00000000 " * 20})).decode()
    text = summary("hansard.approval.proposed.v1", {"action_id": "pay.1", "action": long, "sha256": sha_of(GOOD)})
    assert text.startswith(f"pay.1 · #{sha_of(GOOD)[:8]} · Pay")
