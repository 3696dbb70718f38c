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
    },
}
MINIMAL: Samples = {SubmitRequest: {"text": QUESTION}}
