from contracts.dead_letters.messages import DeadLettered
from contracts.samples import RECORD, Samples

COMPLETE: Samples = {
    DeadLettered: {
        "service": "router",
        "reason": "invalid",
        "detail": "text: should be a valid string, not 5",
        "attempts": 1,
        "door": True,
        "message_kind": "hansard.requests.submit.v1",
        "message_id": "order-77",
        "causation_id": "5f0c3a52-9d34-5b0e-8d53-0f8c4a1b7e11",
        **RECORD,
        "hash": "bba1e5161d0c412b72dfa9712a2012eacebc64796c21246f73ede0684b786b1c",
        "omitted": ["headers"],
    },
}
