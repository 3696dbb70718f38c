"""One task, under a role: asked once, settled once."""

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
from services.specialists.role import SHIPPED, SMALL, BadRole, Role, load, read
from shared.settings import Settings
from tests.told import HERE, NOON, told

POET = Role(prompt="You are a poet.", model_class="capable", max_output_tokens=99, temperature=0.7, context=1_000)
crew = specialists({"poet": POET}, "p1")
CALL = "specialists/draft.1/1"


def asked(**more: Any) -> PerformTask:
    return PerformTask(**{"task": "draft.1", "role": "poet", "goal": "A poem on rain.", "deadline": NOON, **more})


def call(**more: Any) -> CallModel:
    (message,) = told(crew, [], asked(**more))
    assert isinstance(message, CallModel)
    return message


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


def test_a_task_is_one_model_call_in_its_role() -> None:
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


def test_the_reply_is_the_answer_with_all_that_it_cost() -> None:
    assert told(crew, [call()], replied()) == [answered]


def test_an_answer_names_the_call_that_gave_it() -> None:
    (message,) = told(crew, [call()], replied())
    assert isinstance(message, TaskAnswered) and message.call == CALL


def test_a_confidence_is_handed_on_and_never_made_up() -> None:
    (message,) = told(crew, [call()], replied(confidence=0.4))
    assert isinstance(message, TaskAnswered) and message.confidence == 0.4
    assert answered.confidence is None


def test_data_is_handed_on() -> None:
    (message,) = told(crew, [call()], replied(data={"a": 1}))
    assert isinstance(message, TaskAnswered) and message.data == {"a": 1}


def test_the_sources_are_those_that_the_text_cites() -> None:
    passages = (Passage(source="rain.md", text="Rain falls."), Passage(source="sun.md", text="Sun shines."))
    (message,) = told(crew, [call(passages=passages)], replied(text="It falls [rain.md]."))
    assert isinstance(message, TaskAnswered) and message.sources == ("rain.md",)


def test_sources_that_the_reply_names_itself_win() -> None:
    (message,) = told(crew, [call()], replied(sources=("rain.md",)))
    assert isinstance(message, TaskAnswered) and message.sources == ("rain.md",)


def test_where_no_model_answered_the_task_has_failed_and_says_why() -> None:
    fall = Fall(tier="primary", reason="timeout")
    failed = ModelFailed(call=CALL, reason="no-answer", falls=(fall,), detail="all away", cost=Decimal("0.1"))
    assert told(crew, [call()], failed) == [
        TaskFailed(
            task="draft.1", role="poet", reason="no-answer", detail="no-answer | all away | primary: timeout", cost=Decimal("0.1")
        )
    ]


def test_a_call_out_of_time_is_a_task_out_of_time() -> None:
    (message,) = told(crew, [call()], ModelFailed(call=CALL, reason="deadline"))
    assert isinstance(message, TaskFailed) and message.reason == "deadline"


def test_a_role_that_nobody_has_is_a_failure_that_names_those_there_are() -> None:
    assert told(crew, [], asked(role="clown")) == [
        TaskFailed(task="draft.1", role="clown", reason="unknown-role", detail="no role is named 'clown'; there are poet")
    ]


def test_a_task_called_off_calls_off_its_call() -> None:
    assert told(crew, [call()], CancelTask(task="draft.1")) == [cancelled, CancelCall(call=CALL)]


def test_a_cancel_that_overtakes_its_task_is_remembered() -> None:
    assert told(crew, [], CancelTask(task="draft.1")) == [cancelled]
    assert told(crew, [cancelled], asked()) == []


@pytest.mark.parametrize("end", [answered, cancelled, TaskFailed(task="draft.1", role="poet", reason="no-answer", detail="")])
@pytest.mark.parametrize("message", [asked(), replied(), ModelFailed(call=CALL, reason="no-answer"), CancelTask(task="draft.1")])
def test_a_settled_task_is_silent(end: Message, message: Message) -> None:
    assert told(crew, [call(), end], message) == []


def test_a_task_heard_again_asks_nothing_again() -> None:
    assert told(crew, [call()], asked()) == []


def test_a_reply_to_another_call_does_not_count() -> None:
    assert told(crew, [call()], replied(call="specialists/draft.1/2")) == []
    assert told(crew, [call()], ModelFailed(call="specialists/draft.1/2", reason="no-answer")) == []
    assert told(crew, [], replied()) == []


def test_the_prompt_tells_the_part_and_the_whole() -> None:
    message = body(instructions="Write one line.")
    assert message == "Write one line.\n\nA poem on rain."
    assert call(instructions="Write one line.").question == "Write one line.\n\nA poem on rain."


def test_the_prompt_holds_the_answers_of_the_steps_needed_and_nothing_else() -> None:
    message = body(context=(Given(step="facts", worker="research", text="Rain is water."),))
    assert message == "From step facts (research):\nRain is water.\n\nA poem on rain."


def test_the_prompt_says_why_the_attempt_before_was_not_accepted() -> None:
    assert body(feedback=("Too long.",)).endswith("Your last answer was not accepted:\n- Too long.")


def test_passages_are_to_be_cited_by_name() -> None:
    message = call(passages=(Passage(source="rain.md", text="Rain falls."),))
    assert "[rain.md]\nRain falls." in message.messages[-1].content
    assert message.passages == (Passage(source="rain.md", text="Rain falls."),)


def test_data_is_in_the_prompt_and_a_schema_of_the_answer_in_the_call() -> None:
    schema = {"type": "object"}
    message = call(input={"labels": ["a", "b"], "response_schema": schema})
    assert message.response_schema == schema
    assert 'Data:\n{"labels": ["a", "b"]}' in message.messages[-1].content
    assert "response_schema" not in message.messages[-1].content


def test_material_is_shortened_to_what_the_model_can_take_and_says_so() -> None:
    many = tuple(Given(step=f"s{n}", worker="research", text=f"{n}" * 5_000) for n in range(3))
    message = body(context=many, input="short")
    assert len(message) < POET.context + 200 if POET.context else False
    assert message.count("more characters left out]") == 3
    assert "short" in message and "A poem on rain." in message


def test_a_long_question_is_cut_and_two_long_ones_never_become_the_same() -> None:
    one, other = (call(goal="x" * 5_000 + end).question for end in "ab")
    assert len(one) < 2_100 and one != other


def test_it_hears_only_tasks_of_its_own() -> None:
    service = build(Settings())
    assert service.stream(asked()) == "specialists/draft.1"
    assert service.stream(CancelTask(task="draft.1")) == "specialists/draft.1"
    assert service.stream(asked(service="retriever")) is None
    assert service.stream(replied()) == "specialists/draft.1"
    assert service.stream(replied(call="verifier/draft.1/1")) is None


def test_four_roles_are_shipped_each_with_its_own_model_class_and_limit() -> None:
    roles = load(SHIPPED)
    assert set(roles) == {"research", "analyst", "writer", "coder"}
    assert {name: (role.model_class, role.max_output_tokens) for name, role in roles.items()} == {
        "research": ("fast", 400),
        "analyst": ("capable", 500),
        "writer": ("fast", 600),
        "coder": ("capable", 900),
    }


def test_a_user_adds_a_role_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text("prompt: You are a lawyer.\nmax_output_tokens: 50\n")
    service = build(Settings(roles=tmp_path))
    message = list(service.decider.decide(service.decider.initial, asked(role="lawyer"), HERE))
    assert isinstance(message[0], CallModel) and message[0].max_output_tokens == 50
    assert service.decider.policy != build(Settings()).decider.policy


def test_a_users_role_wins_over_ours_of_the_same_name(tmp_path: Path) -> None:
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
def test_a_file_that_is_no_role_is_refused_by_name_and_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadRole, match=why) as bad:
        read("legal", text, "legal.yaml")
    assert str(bad.value).startswith("legal.yaml: ")


def test_a_role_is_named_by_its_file() -> None:
    with pytest.raises(BadRole, match="named by its file"):
        read("my role", "prompt: x", "my role.yaml")


def test_with_a_model_of_ones_own_prompts_may_be_longer() -> None:
    def longest(settings: Settings) -> int:
        decider = build(settings).decider
        (message,) = decider.decide(decider.initial, asked(role="writer", goal="x" * 200_000), HERE)
        assert isinstance(message, CallModel)
        return len(message.messages[-1].content)

    assert longest(Settings(model_url="http://model")) > 5 * longest(Settings()) > SMALL
