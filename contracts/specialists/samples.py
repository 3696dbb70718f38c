from contracts.samples import ANSWER, ATTRIBUTION, DEADLINE, FELL, PASSAGE, QUESTION, USAGE, Samples
from contracts.specialists.messages import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed

COMPLETE: Samples = {
    PerformTask: {
        "task": "draft.1",
        "service": "specialists",
        "role": "writer",
        "goal": QUESTION,
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
        "passages": [PASSAGE],
        "feedback": ["Cite the passage that you rest on."],
        "input": {"words": 40},
        "deadline": DEADLINE,
        "budget": "0.25",
    },
    CancelTask: {"task": "draft.1", "service": "specialists"},
    TaskAnswered: {
        "task": "draft.1",
        "role": "writer",
        "text": ANSWER,
        "data": {"words": 10},
        "confidence": 0.9,
        "sources": ["kafka.apache.org"],
        "passages": [PASSAGE],
        "degraded": [FELL],
        **ATTRIBUTION,
        **USAGE,
        "call": "specialists/draft.1/1",
    },
    TaskFailed: {
        "task": "draft.1",
        "role": "writer",
        "reason": "no-answer",
        "detail": "no model answered",
        "cost": "0.00042",
        "final": True,
    },
    TaskCancelled: {"task": "draft.1"},
}
