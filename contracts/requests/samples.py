from contracts.requests.messages import SubmitRequest
from contracts.samples import DEADLINE, PLAN, QUESTION, Samples

COMPLETE: Samples = {
    SubmitRequest: {
        "type": "invoice.total",
        "data": {"currency": "EUR", "lines": [{"quantity": 3, "price": "43.30"}]},
        "plan": PLAN,
        "architecture": "pipeline",
        "deadline": DEADLINE,
        "budget": "0.25",
        "requester": "bob@example.org",
        "requester_key": "0f1e2d3c4b5a6978",
        "requester_signature": "c2lnbmF0dXJl",
    },
}
MINIMAL: Samples = {SubmitRequest: {"text": QUESTION}}
