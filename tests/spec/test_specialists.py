"""A task in a role: one model call, then one outcome."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.gateway import CallModel, CancelCall, ChatMessage, Fall, ModelFailed, ModelReplied
from contracts.specialists import CancelTask, Given, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import Passage
from hansard.message import Message
from services.specialists.app import build
from services.specialists.decider import specialists
from services.specialists.prompts import SMALL
from shared.roles import FOLDER, BadRole, Role, load, read
from shared.settings import Settings
from tests.decisions import HERE, NOON, decided

POET = Role(prompt="You are a poet.", model_class="capable", max_output_tokens=99, temperature=0.7, context=1_000)
decider = specialists({"poet": POET}, "p1")
CALL = "specialists/draft.1/1"


def asked(**more: Any) -> PerformTask:
    return PerformTask(**{"task": "draft.1", "role": "poet", "goal": "A poem on rain.", "deadline": NOON, **more})


def call(**more: Any) -> CallModel:
    (called,) = decided(decider, [], asked(**more))
    assert isinstance(called, CallModel)
    return called


def body(**more: Any) -> str:
    return call(**more).messages[-1].content


def replied(**more: Any) -> ModelReplied:
    given = {"call": CALL, "attempt": 1, "tier": "primary", "provider": "openai", "model": "m", "text": "Drip.", "latency_ms": 5}
    return ModelReplied(**{**given, "cost": Decimal("0.002"), "input_tokens": 7, "output_tokens": 3, **more})


answered = TaskAnswered(
    task="draft.1",
    role="poet",
    text="Drip.",
    tier="primary",
    provider="openai",
    model="m",
    cost=Decimal("0.002"),
    input_tokens=7,
    output_tokens=3,
    call=CALL,
)
cancelled = TaskCancelled(task="draft.1")


def test_a_task_becomes_one_model_call_in_its_role() -> None:
    assert call() == CallModel(
        call=CALL,
        role="poet",
        model_class="capable",
        messages=(
            ChatMessage(role="system", content="You are a poet."),
            ChatMessage(role="user", content="A poem on rain."),
        ),
        question="A poem on rain.",
        max_output_tokens=99,
        temperature=0.7,
        deadline=NOON,
    )


def test_the_reply_becomes_the_answer_with_its_cost() -> None:
    assert decided(decider, [call()], replied()) == [answered]


def test_an_answer_names_the_call_that_gave_it() -> None:
    (message,) = decided(decider, [call()], replied())
    assert isinstance(message, TaskAnswered) and message.call == CALL


def test_the_confidence_of_an_answer_is_that_of_the_reply_or_none() -> None:
    (message,) = decided(decider, [call()], replied(confidence=0.4))
    assert isinstance(message, TaskAnswered) and message.confidence == 0.4
    assert answered.confidence is None


def test_the_data_of_a_reply_is_in_the_answer() -> None:
    (message,) = decided(decider, [call()], replied(data={"a": 1}))
    assert isinstance(message, TaskAnswered) and message.data == {"a": 1}


def test_the_sources_of_an_answer_are_those_that_its_text_cites() -> None:
    passages = (Passage(source="rain.md", text="Rain falls."), Passage(source="sun.md", text="Sun shines."))
    (message,) = decided(decider, [call(passages=passages)], replied(text="It falls [rain.md]."))
    assert isinstance(message, TaskAnswered) and message.sources == ("rain.md",)


def test_sources_that_the_reply_names_win_over_those_that_its_text_cites() -> None:
    (message,) = decided(decider, [call()], replied(sources=("rain.md",)))
    assert isinstance(message, TaskAnswered) and message.sources == ("rain.md",)


def test_a_task_fails_with_the_reasons_when_no_model_answered() -> None:
    fall = Fall(tier="primary", reason="timeout", detail="no answer within 30 s")
    failed = ModelFailed(call=CALL, reason="no-answer", falls=(fall,), detail="primary: timeout", cost=Decimal("0.1"))
    assert decided(decider, [call()], failed) == [
        TaskFailed(
            task="draft.1",
            role="poet",
            reason="no-answer",
            detail="no-answer | primary: no answer within 30 s",
            cost=Decimal("0.1"),
        )
    ]


def test_a_task_whose_call_passed_the_deadline_fails_with_the_reason_deadline() -> None:
    (message,) = decided(decider, [call()], ModelFailed(call=CALL, reason="deadline"))
    assert isinstance(message, TaskFailed) and message.reason == "deadline"


def test_a_task_in_an_unknown_role_fails_and_names_the_roles_there_are() -> None:
    assert decided(decider, [], asked(role="clown")) == [
        TaskFailed(task="draft.1", role="clown", reason="unknown-role", detail="no role is named 'clown'; there are poet")
    ]


def test_a_cancelled_task_cancels_its_call() -> None:
    assert decided(decider, [call()], CancelTask(task="draft.1")) == [cancelled, CancelCall(call=CALL)]


def test_a_cancellation_that_comes_before_the_task_is_remembered() -> None:
    assert decided(decider, [], CancelTask(task="draft.1")) == [cancelled]
    assert decided(decider, [cancelled], asked()) == []


@pytest.mark.parametrize("end", [answered, cancelled, TaskFailed(task="draft.1", role="poet", reason="no-answer", detail="")])
@pytest.mark.parametrize("message", [asked(), replied(), ModelFailed(call=CALL, reason="no-answer"), CancelTask(task="draft.1")])
def test_nothing_follows_after_a_task_is_settled(end: Message, message: Message) -> None:
    assert decided(decider, [call(), end], message) == []


def test_a_task_that_is_received_again_changes_nothing() -> None:
    assert decided(decider, [call()], asked()) == []


def test_a_reply_to_another_call_does_not_count() -> None:
    assert decided(decider, [call()], replied(call="specialists/draft.1/2")) == []
    assert decided(decider, [call()], ModelFailed(call="specialists/draft.1/2", reason="no-answer")) == []
    assert decided(decider, [], replied()) == []


def test_the_prompt_has_the_instructions_and_the_goal() -> None:
    prompt = body(instructions="Write one line.")
    assert prompt == "Write one line.\n\nA poem on rain."
    assert call(instructions="Write one line.").question == "Write one line.\n\nA poem on rain."


def test_the_prompt_has_the_answers_of_the_steps_needed_and_nothing_else() -> None:
    prompt = body(context=(Given(step="facts", worker="research", text="Rain is water."),))
    assert prompt == "From step facts (research):\nRain is water.\n\nA poem on rain."


def test_the_prompt_says_why_the_attempt_before_was_not_accepted() -> None:
    assert body(feedback=("Too long.",)).endswith("Your last answer was not accepted:\n- Too long.")


def test_the_prompt_asks_to_cite_passages_by_name() -> None:
    called = call(passages=(Passage(source="rain.md", text="Rain falls."),))
    assert "[rain.md]\nRain falls." in called.messages[-1].content
    assert called.passages == (Passage(source="rain.md", text="Rain falls."),)


def test_the_data_is_in_the_prompt_and_the_schema_of_the_answer_in_the_call() -> None:
    schema = {"type": "object"}
    called = call(input={"labels": ["a", "b"], "response_schema": schema})
    assert called.response_schema == schema
    assert 'Data:\n{"labels": ["a", "b"]}' in called.messages[-1].content
    assert "response_schema" not in called.messages[-1].content


def test_material_is_shortened_to_what_the_model_can_take_and_marked() -> None:
    many = tuple(Given(step=f"s{n}", worker="research", text=f"{n}" * 5_000) for n in range(3))
    prompt = body(context=many, input="short")
    assert len(prompt) < POET.context + 200 if POET.context else False
    assert prompt.count("more characters left out]") == 3
    assert "short" in prompt and "A poem on rain." in prompt


def test_long_questions_are_shortened_and_stay_different() -> None:
    one, other = (call(goal="x" * 5_000 + end).question for end in "ab")
    assert len(one) < 2_100 and one != other


def test_the_specialists_receive_only_their_own_tasks_and_replies() -> None:
    service = build(Settings())
    assert service.stream(asked()) == "specialists/draft.1"
    assert service.stream(CancelTask(task="draft.1")) == "specialists/draft.1"
    assert service.stream(asked(service="retriever")) is None
    assert service.stream(replied()) == "specialists/draft.1"
    assert service.stream(replied(call="verifier/draft.1/1")) is None


def test_four_roles_are_shipped_with_their_model_classes_and_limits() -> None:
    shipped = {name: (role.model_class, role.max_output_tokens) for name, role in load(FOLDER).items()}
    four = {"research": ("fast", 400), "analyst": ("capable", 500), "writer": ("fast", 600), "coder": ("capable", 900)}
    assert shipped.items() >= four.items()


def test_a_user_adds_a_role_with_one_file(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text("prompt: You are a lawyer.\nmax_output_tokens: 50\n")
    service = build(Settings(roles=tmp_path))
    messages = list(service.decider.decide(service.decider.initial, asked(role="lawyer"), HERE))
    assert isinstance(messages[0], CallModel) and messages[0].max_output_tokens == 50
    assert service.decider.policy != build(Settings()).decider.policy


def test_a_users_role_wins_over_a_shipped_role_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "writer.yaml").write_text("prompt: Write like a pirate.\n")
    service = build(Settings(roles=tmp_path))
    (message,) = service.decider.decide(service.decider.initial, asked(role="writer"), HERE)
    assert isinstance(message, CallModel) and message.messages[0].content == "Write like a pirate."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("prompt: x\nmax_output_tokens: 0", "max_output_tokens"),
        ("prompt: x\nmodel_clas: fast", "model_clas"),
        ("model_class: fast", "prompt"),
        ("prompt: ''", "prompt"),
        ("- prompt", "a role is a mapping"),
        ("prompt: [", "legal.yaml"),
    ],
)
def test_a_file_that_is_not_a_role_is_refused_with_its_name_and_the_problem(text: str, why: str) -> None:
    with pytest.raises(BadRole, match=why) as bad:
        read("legal", text, "legal.yaml")
    assert str(bad.value).startswith("legal.yaml: ")


def test_a_role_is_named_by_its_file() -> None:
    with pytest.raises(BadRole, match="named by its file"):
        read("my role", "prompt: x", "my role.yaml")


def test_prompts_may_be_longer_for_a_users_own_model() -> None:
    def longest(settings: Settings) -> int:
        decider = build(settings).decider
        (message,) = decider.decide(decider.initial, asked(role="writer", goal="x" * 200_000), HERE)
        assert isinstance(message, CallModel)
        return len(message.messages[-1].content)

    assert longest(Settings(model_url="http://model")) > 5 * longest(Settings()) > SMALL
