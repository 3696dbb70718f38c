"""Deciders and texts that travel by reference: they pass excerpts and references on, and never need the whole."""

from decimal import Decimal
from typing import Any, cast

from contracts.gateway import CallModel, ModelFailed
from contracts.planner import RunPlan, StepAnswered
from contracts.plans import Step
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted, WorkflowRefused
from contracts.specialists import Given, PerformTask
from hansard.codec import encode
from hansard.message import Message
from hansard.references import by_reference, reference_to, whole
from hansard.values import Insert
from services.gateway.answer_reuse import cache_key
from services.gateway.call import call_decider
from services.planner.state import ByIdentity, Running, evolve, started
from services.planner.synthesis import finished
from services.router.decider import router
from services.router.policy import Policy
from tests.decisions import decided
from tests.spec import gateway_kit as gateway
from tests.spec import planner_kit as planner
from tests.spec.test_specialists import asked, call, replied

WHOLE = reference_to(b"whole " * 100_000)
OTHER = reference_to(b"other " * 100_000)


def routed(**request: Any) -> list[Message]:
    return decided(router(Policy()), [], SubmitRequest(**request))


def test_the_router_passes_the_reference_of_a_long_text_on() -> None:
    run = routed(text="whole …", text_ref=WHOLE)[-1]
    assert isinstance(run, RunPlan)
    assert (run.goal, run.goal_ref) == ("whole …", WHOLE)


def test_what_is_to_be_done_with_a_long_text_of_a_typed_request_is_in_its_step() -> None:
    run = routed(type="summarize_text", data={"text": "whole …", "style": "long …"}, data_refs={"text": WHOLE, "style": OTHER})[
        -1
    ]
    assert isinstance(run, RunPlan)
    [step] = run.plan.steps
    assert (run.goal, run.goal_ref) == ("whole …", WHOLE)
    assert step.instructions.startswith("Summarize this text:")
    assert (step.input, step.input_refs) == ({"style": "long …"}, {"style": OTHER})


def test_a_rule_refuses_data_that_it_is_not_given_whole() -> None:
    [refused] = routed(type="calculate_tax", data={"amount": "99 …"}, data_refs={"amount": WHOLE})
    assert isinstance(refused, WorkflowRefused)
    assert "must be given whole" in refused.detail


def test_the_planner_passes_the_references_of_goal_step_and_answers_on() -> None:
    step = planner.step("b", "a", instructions="do …", instructions_ref=OTHER, input={"t": "i …"}, input_refs={"t": OTHER})
    run = planner.run(planner.step("a", verify="none"), step).model_copy(update={"goal_ref": WHOLE})
    begun = planner.started(run).model_copy(update={"goal_ref": WHOLE})
    answer = planner.answer("a.1", "A …", text_ref=WHOLE, data_ref=OTHER)
    task = decided(planner.decider, [begun, *planner.begun("a", goal_ref=WHOLE)], answer)[-1]
    assert isinstance(task, PerformTask)
    assert (task.goal_ref, task.instructions_ref, task.input_refs) == (WHOLE, OTHER, {"t": OTHER})
    assert task.context == (Given(step="a", worker="writer", text="A …", text_ref=WHOLE, data_ref=OTHER),)


def test_a_result_names_the_whole_answers_that_it_is_made_of() -> None:
    run = planner.run(planner.step("a", verify="none"))
    answer = planner.answer("a.1", "A …", text_ref=WHOLE, data_ref=OTHER)
    result = decided(planner.decider, [planner.started(run), *planner.begun("a")], answer)[-1]
    assert isinstance(result, WorkflowCompleted)
    assert (result.text, result.text_ref, result.data_ref) == ("A …", WHOLE, OTHER)
    assert (result.contributions[0].answer, result.contributions[0].data) == (WHOLE, OTHER)


def test_a_prompt_holds_excerpts_and_where_the_model_is_given_the_whole() -> None:
    context = (Given(step="a", worker="w", text="A …", text_ref=WHOLE), Given(step="b", worker="w", text="B"))
    message = call(goal="G …", goal_ref=OTHER, context=context).messages[-1]
    assert [message.content[one.start : one.end] for one in message.content_inserts] == ["A …", "G …"]
    assert [one.whole for one in message.content_inserts] == [WHOLE, OTHER]
    limit = message.content_inserts[0].limit or 0
    assert 400 < limit < 500 and limit == message.content_inserts[1].limit  # of the role's 1,000 characters
    assert message.content == "From step a (w):\nA …\n\nFrom step b (w):\nB\n\nG …"


def test_texts_of_a_tasks_input_that_travel_by_reference_have_a_place_of_their_own() -> None:
    message = call(input={"n": 1, "law": "L …"}, input_refs={"law": WHOLE}).messages[-1]
    assert message.content == 'Data:\n{"n": 1}\n\nlaw:\nL …\n\nA poem on rain.'
    assert [message.content[one.start : one.end] for one in message.content_inserts] == ["L …"]


def test_two_long_texts_that_begin_alike_are_two_questions_and_two_entries_of_the_cache() -> None:
    one, other = call(goal="G …", goal_ref=WHOLE), call(goal="G …", goal_ref=OTHER)
    assert one.question != other.question
    same = other.model_copy(update={"question": one.question})
    assert cache_key("t", one) != cache_key("t", same)


def test_an_answer_keeps_its_reference() -> None:
    from tests.spec.test_specialists import decider

    [answer] = decided(decider, [call()], replied(text="Drip …", text_ref=WHOLE))
    assert getattr(answer, "text_ref", None) == WHOLE
    assert asked().goal_ref is None


def test_a_call_whose_content_is_missing_fails_at_once_and_says_so() -> None:
    decider = call_decider(gateway.tiers(gateway.FIRST, gateway.SECOND))
    lacking = gateway.fell("content-missing", detail="content 12ab is not in the content store")
    messages = decided(decider, [gateway.begun()], gateway.failure(lacking), gateway.at(1))
    assert isinstance(messages[-1], ModelFailed)
    assert (messages[-1].reason, messages[-1].detail) == ("refused", lacking.fall.detail)


def test_an_insert_is_part_of_what_a_call_refers_to() -> None:
    insert = Insert(start=0, end=1, whole=WHOLE, limit=5)
    message = call().messages[-1].model_copy(update={"content_inserts": (insert,)})
    assert CallModel.model_validate_json(call().model_copy(update={"messages": (message,)}).model_dump_json()).messages[
        -1
    ].content_inserts == (insert,)


def test_a_plan_of_five_thousand_steps_and_its_result_fit_into_messages() -> None:
    steps = [Step(id=f"s{n:04}", worker="writer", needs=(f"s{n - 1:04}",) if n else (), verify="none") for n in range(5_000)]
    run = planner.run(*steps)
    assert len(encode(planner.started(run))) < 900 * 1024
    state = started(ByIdentity(planner.started(run)))
    for name in state.graph.steps:
        state = cast(Running, evolve(evolve(state, planner.task(f"{name}.1")), StepAnswered(
            step=name, attempt=1, passed=True, text="Drip.", tier="primary", model="m", cost=Decimal(0)
        )))  # fmt: skip
    result, wholes = by_reference(finished(state), Message.inline)
    assert isinstance(result, WorkflowCompleted)
    assert len(encode(result)) <= Message.inline
    assert result.contributions_ref in wholes
    assert 500 < len(result.contributions) < 5_000


async def test_a_result_of_several_answers_is_made_whole_from_theirs() -> None:
    run = planner.run(planner.step("a", verify="none"), planner.step("b", verify="none"))
    begun = [planner.started(run), *planner.begun("a"), *planner.begun("b")]
    first = decided(planner.decider, begun, planner.answer("a.1", "A …", text_ref=WHOLE))
    result = decided(planner.decider, [*begun, *first], planner.answer("b.1", "B"))[-1]
    assert isinstance(result, WorkflowCompleted)
    assert result.text == "## a\n\nA …\n\n## b\n\nB"

    async def read(reference: object) -> bytes:
        assert reference == WHOLE
        return b"whole " * 100_000

    assert (await whole(result, read)).text == f"## a\n\n{'whole ' * 100_000}\n\n## b\n\nB"
