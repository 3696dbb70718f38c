"""State diagrams are drawn from the code, completely, and are not stale."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

from contracts.control import CancelWorkflow
from contracts.planner import PlanCancelNoted, PlanRejected
from hansard.decider import Context, Decider
from hansard.message import Message
from infra.diagrams import HERE, Machine, draw, gateway, mermaid, pages, planner
from services.planner import state as planner_state


def test_no_diagram_is_stale() -> None:
    assert list(pages.stale()) == []


def test_a_page_that_is_missing_or_differs_from_the_code_is_stale(tmp_path: Path) -> None:
    stale = [f"{name} is stale: python -m infra.diagrams" for name in pages.pages()]
    assert list(pages.stale(tmp_path)) == stale
    for name, text in pages.pages().items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text.replace("Settled", "Done"))
    assert list(pages.stale(tmp_path)) == ["services/gateway/states.md is stale: python -m infra.diagrams"]


def test_the_planners_diagrams_show_every_state_and_every_message_that_changes_one() -> None:
    workflow, step, clock = (draw(machine) for machine in planner.MACHINES)
    states = {kind.__name__ for kind in get_args(planner_state.WorkflowState)}
    assert {*workflow.starts, *(name for edge in workflow.edges for name in edge)} == states
    phases = {"not-started", *get_args(planner_state.Phase)}
    assert {*step.starts, *(name for edge in step.edges for name in edge)} == phases
    shown = {sent for drawing in (workflow, step, clock) for messages in drawing.edges.values() for sent in messages}
    changes_no_phase = {"ProposeAction", "SignalNoted", "ReviewerAnswered"}
    assert (
        shown == {"PlanStarted", "PlanCancelNoted", *(message.__name__ for message in planner_state.CHANGES)} - changes_no_phase
    )


def test_the_gateways_diagrams_are_those_that_its_modules_describe() -> None:
    call, circuit = gateway.MACHINES
    assert draw(call).edges == {
        ("NoCall", "Waiting"): {"CallAccepted"},
        ("NoCall", "Attempting"): {"AttemptStarted"},
        ("NoCall", "Settled"): {"ModelReplied", "ModelFailed", "CallCancelled"},
        ("Waiting", "Attempting"): {"AttemptStarted"},
        ("Waiting", "Settled"): {"ModelReplied", "ModelFailed", "CallCancelled"},
        ("Attempting", "Waiting"): {"AttemptFailed"},
        ("Attempting", "Settled"): {"ModelReplied", "CallCancelled"},
    }
    assert draw(circuit).edges == {
        ("closed", "open"): {"CircuitOpened"},
        ("open", "probing"): {"ProbeGranted"},
        ("probing", "closed"): {"CircuitClosed"},
        ("probing", "open"): {"CircuitOpened"},
    }


def test_no_step_leaves_a_phase_in_which_it_is_settled() -> None:
    _, step, _ = (draw(machine) for machine in planner.MACHINES)
    assert {was for was, _ in step.edges} == {"not-started", *planner_state.ACTIVE}


def door() -> Machine[str]:
    """A toy decider: the first cancellation opens the door half, the second one wholly."""

    def decide(state: str, message: Message, _: Context) -> Iterable[Message]:
        yield PlanRejected(problems=("open",)) if state else PlanCancelNoted(by=state)

    def evolve(state: str, message: Message) -> str:
        return "open" if isinstance(message, PlanRejected) else "x"

    def received(state: str) -> Iterator[tuple[Message, Context]]:
        if state != "open":
            yield CancelWorkflow(), HERE

    def parts(state: str) -> Mapping[str, str]:
        return {"door": "open" if state == "open" else "half-open" if state else "shut"}

    return Machine("A door", (Decider("", decide, evolve),), received, parts, key=lambda state: state)


def test_a_diagram_is_what_the_decider_does() -> None:
    assert mermaid(door()) == (
        "stateDiagram-v2\n"
        '    state "half-open" as half_open\n'
        "    [*] --> shut\n"
        "    shut --> half_open: PlanCancelNoted\n"
        "    half_open --> open: PlanRejected\n"
        "    open --> [*]\n"
    )


def test_a_part_that_appears_later_starts_where_it_appears() -> None:
    _, step, _ = planner.MACHINES
    assert list(draw(step).starts) == ["not-started"]
