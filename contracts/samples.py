"""One complete sample of every kind, field by field: what `generate --new-examples` freezes as golden examples."""

from typing import Any

from contracts import control, dead_letters, gateway, planner, requests, results, router, specialists, verifier
from hansard.message import Message

_DEADLINE = "2026-01-05T09:05:00Z"
_PROBE = "default/order-77/gateway/specialists/draft.1/1#1"
_QUESTION = "What is an event log?"
_ANSWER = "An event log keeps what happened, in order, for good."
_PASSAGE = {"source": "kafka.apache.org", "text": "A log is a sequence of records, ordered by time."}
_SPENT = {"cost": "0.00042", "input_tokens": 212, "output_tokens": 31}
_SPOKE = {"tier": "primary", "model": "SmolLM2-135M-Instruct"}
_STEP = {
    "id": "draft",
    "worker": "writer",
    "instructions": "Write one sentence.",
    "needs": ["research"],
    "input": {"words": 40},
    "verify": "judge",
    "retries": 1,
    "timeout": 30.0,
    "optional": True,
}
_PLAN = {
    "name": "explain",
    "version": "2",
    "architecture": "pipeline",
    "steps": [{"id": "research", "worker": "research"}, _STEP],
    "answer": ["draft"],
}
_RUN = {"request": "order-77", "goal": _QUESTION, "plan": _PLAN, "deadline": _DEADLINE, "budget": "0.25"}
_FALL = {
    "tier": "primary",
    "attempt": 1,
    "provider": "local",
    "model": "SmolLM2-135M-Instruct",
    "reason": "timeout",
    "detail": "no answer within 30 s",
}
_TOOL_CALL = {"id": "call_1", "name": "search", "arguments": '{"query":"event log"}'}
_CALL = {
    "call": "specialists/draft.1/1",
    "role": "writer",
    "model_class": "capable",
    "api": "responses",
    "messages": [
        {"role": "system", "content": "You write one sentence."},
        {"role": "user", "content": _QUESTION},
        {"role": "assistant", "content": "", "tool_calls": [_TOOL_CALL]},
        {"role": "tool", "content": "12", "tool_call_id": "call_1"},
    ],
    "question": _QUESTION,
    "passages": [_PASSAGE],
    "tools": [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}],
    "response_schema": {"type": "object", "properties": {"total": {"type": "string"}}},
    "max_output_tokens": 256,
    "temperature": 0.2,
    "minimum_confidence": 0.7,
    "deadline": _DEADLINE,
    "judges": "specialists/research.1/1",
}
_ATTEMPT_FAILED = {
    "call": "specialists/draft.1/1",
    "fall": _FALL,
    "latency_ms": 30000.5,
    **_SPENT,
    "retry_at": "2026-01-05T09:00:31Z",
    "circuit_open_until": "2026-01-05T09:02:30Z",
    "resume_at": "2026-01-05T09:00:31Z",
    "estimated": True,
}
_ORIGIN = {
    "topic": "requests",
    "partition": 3,
    "offset": 42,
    "timestamp": 1767603600000,
    "key": "b3JkZXItNzc=",
    "headers": [["ce_id", "b3JkZXItNzc="]],
    "body": "eyJ0ZXh0Ijo1fQ==",
}
_BY = {"by": "operator@example.org", "reason": "no longer needed"}
_CONTRIBUTION = {"step": "draft", "worker": "writer", "confidence": 0.9, "sources": ["kafka.apache.org"], **_SPOKE}
_RESULT = {"request": "order-77", **_SPENT}

COMPLETE: dict[type[Message], dict[str, Any]] = {
    requests.SubmitRequest: {
        "type": "invoice.total",
        "data": {"currency": "EUR", "lines": [{"quantity": 3, "price": "43.30"}]},
        "plan": _PLAN,
        "architecture": "pipeline",
        "deadline": _DEADLINE,
        "budget": "0.25",
    },
    control.CancelWorkflow: _BY,
    control.RedriveDeadLetter: {"service": "router", **_ORIGIN},
    results.WorkflowCompleted: {
        **_RESULT,
        "text": _ANSWER,
        "data": {"total": "129.95"},
        "answered_by": "plan",
        "handler": "explain",
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "contributions": [_CONTRIBUTION],
    },
    results.WorkflowFailed: {
        **_RESULT,
        "reason": "deadline",
        "detail": "the deadline passed while draft was at work",
        "partial": [_CONTRIBUTION],
    },
    results.WorkflowRefused: {
        **_RESULT,
        "reason": "unknown-plan",
        "detail": "there is no plan explian; did you mean explain?",
    },
    results.WorkflowCancelled: {**_RESULT, "by": "operator@example.org", "detail": "no longer needed"},
    dead_letters.DeadLettered: {
        "service": "router",
        "reason": "invalid",
        "detail": "text: should be a valid string, not 5",
        "attempts": 1,
        "door": True,
        "message_kind": "hansard.requests.submit.v1",
        "message_id": "order-77",
        "causation_id": "5f0c3a52-9d34-5b0e-8d53-0f8c4a1b7e11",
        **_ORIGIN,
        "hash": "bba1e5161d0c412b72dfa9712a2012eacebc64796c21246f73ede0684b786b1c",
    },
    router.RequestRouted: {
        "path": "llm",
        "handler": "explain",
        "architecture": "pipeline",
        "agents": ["research", "writer"],
        "confidence": 0.8,
        "reasoning": "No rule decides this; the caller named a plan.",
        "cost_estimate": "0.0006",
        "policy": "1",
    },
    router.CancelNoted: _BY,
    planner.RunPlan: _RUN,
    planner.ExpireWorkflow: {"request": "order-77", "deadline": _DEADLINE},
    planner.PlanStarted: {**_RUN, "policy": "1"},
    planner.PlanRejected: {"problems": ["step draft needs research, which is not in the plan"]},
    planner.StepAnswered: {
        "step": "draft",
        "attempt": 1,
        "text": _ANSWER,
        "data": {"words": 10},
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "passages": [_PASSAGE],
        **_SPOKE,
        **_SPENT,
        "passed": True,
    },
    planner.StepPassed: {
        "step": "draft",
        "attempt": 1,
        "by": ["cites-what-it-was-given"],
        "confidence": 0.9,
        "cost": "0.00042",
    },
    planner.StepRetried: {
        "step": "draft",
        "attempt": 1,
        "reasons": ["no-answer: every tier failed"],
        "cost": "0.00042",
        "resume_at": "2026-01-05T09:00:02Z",
    },
    planner.StepFailed: {"step": "draft", "attempt": 2, "reasons": ["It cites nothing."], "cost": "0.00084"},
    planner.StepSkipped: {"step": "draft", "because": ["research"]},
    planner.StepCancelled: {"step": "draft", "because": "deadline"},
    planner.PlanCancelNoted: _BY,
    specialists.PerformTask: {
        "task": "draft.1",
        "service": "specialists",
        "role": "writer",
        "goal": _QUESTION,
        "instructions": "Write one sentence.",
        "context": [
            {
                "step": "research",
                "worker": "research",
                "text": "Logs are ordered.",
                "data": {"sources": 1},
                "sources": ["kafka.apache.org"],
            }
        ],
        "passages": [_PASSAGE],
        "feedback": ["Cite the passage that you rest on."],
        "input": {"words": 40},
        "deadline": _DEADLINE,
        "budget": "0.25",
    },
    specialists.CancelTask: {"task": "draft.1", "service": "specialists"},
    specialists.TaskAnswered: {
        "task": "draft.1",
        "role": "writer",
        "text": _ANSWER,
        "data": {"words": 10},
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "passages": [_PASSAGE],
        "provider": "local",
        **_SPOKE,
        **_SPENT,
        "call": "specialists/draft.1/1",
    },
    specialists.TaskFailed: {
        "task": "draft.1",
        "role": "writer",
        "reason": "no-answer",
        "detail": "no model answered",
        "cost": "0.00042",
    },
    specialists.TaskCancelled: {"task": "draft.1"},
    verifier.CheckClaim: {
        "check": "draft.1",
        "question": _QUESTION,
        "claim": _ANSWER,
        "sources": ["kafka.apache.org"],
        "passages": [_PASSAGE],
        "facts": {"invoice": "2026-0815"},
        "judge": True,
        "deadline": _DEADLINE,
        "tier": "primary",
        "call": "specialists/draft.1/1",
    },
    verifier.ClaimPassed: {
        "check": "draft.1",
        "by": ["cites-what-it-was-given"],
        "confidence": 0.9,
        "cost": "0.00042",
        "policy": "1",
    },
    verifier.ClaimRejected: {
        "check": "draft.1",
        "reasons": ["It cites nothing."],
        "failed": ["cites-what-it-was-given"],
        "cost": "0.00042",
        "policy": "1",
    },
    gateway.CallModel: _CALL,
    gateway.CancelCall: {"call": "specialists/draft.1/1"},
    gateway.RejectReply: {"call": "specialists/draft.1/1", "reasons": ["It cites nothing."]},
    gateway.CallAccepted: {"request": _CALL, "at": "2026-01-05T09:00:00Z"},
    gateway.AttemptStarted: {
        "attempt": 1,
        "safety": "keyed",
        "key": "default/order-77/gateway/specialists/draft.1/1/1",
        "deadline": _DEADLINE,
        "call": "specialists/draft.1/1",
        "tier": "primary",
        "provider": "local",
        "model": "SmolLM2-135M-Instruct",
        "endpoint": "small",
        "request": _CALL,
    },
    gateway.AttemptFailed: _ATTEMPT_FAILED,
    gateway.ModelReplied: {
        "call": "specialists/draft.1/1",
        "attempt": 2,
        "provider": "local",
        **_SPOKE,
        "text": _ANSWER,
        "data": {"total": "129.95"},
        "tool_calls": [_TOOL_CALL],
        "finish_reason": "stop",
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "falls": [_FALL],
        "latency_ms": 431.5,
        **_SPENT,
        "estimated": True,
        "policy": "1",
        "learned": {
            "event": "0e1c1f6e-7d2b-5b0e-9a1c-2f6b7c1d3e4f",
            "workflow": "order-12",
            "stream": "gateway/specialists/draft.1/1",
            "tier": "primary",
            "at": "2026-01-05T08:00:00Z",
        },
    },
    gateway.ModelFailed: {
        "call": "specialists/draft.1/1",
        "reason": "no-answer",
        "falls": [_FALL],
        "detail": "no tier is left",
        "cost": "0.00042",
    },
    gateway.CallCancelled: {"call": "specialists/draft.1/1"},
    gateway.ReplyDiscarded: {"call": "specialists/draft.1/1", "attempt": 1, "because": "cancelled", **_SPENT},
    gateway.ReplyRejected: {"call": "specialists/draft.1/1", "reasons": ["It cites nothing."]},
    gateway.CircuitOpened: {
        "endpoint": "primary",
        "change": 1,
        "until": _DEADLINE,
        "failures": 5,
        "of": 5,
        "probes": 1,
        "reason": "error",
        "detail": "scripted 500",
    },
    gateway.ProbeGranted: {"endpoint": "primary", "change": 2, "by": _PROBE, "until": _DEADLINE},
    gateway.CircuitClosed: {"endpoint": "primary", "change": 3, "by": _PROBE},
    gateway.RetriesGranted: {"endpoint": "primary", "by": "1f0b6f7a", "calls": 20, "granted": 2, "left": 0.5},
    gateway.TokensStreamed: {"call": "specialists/draft.1/1", "attempt": 1, "tier": "primary", "piece": 1, "text": "It is "},
}

MINIMAL: dict[type[Message], dict[str, Any]] = {requests.SubmitRequest: {"text": _QUESTION}}


def minimal(kind: type[Message]) -> dict[str, Any]:
    """What a sender must give, and no more."""
    given = COMPLETE[kind]
    required = {name: given[name] for name, field in kind.model_fields.items() if field.is_required()}
    return MINIMAL.get(kind, required)
