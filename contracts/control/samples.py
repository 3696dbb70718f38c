from contracts.control.messages import CancelWorkflow, RedriveDeadLetter, SignalWorkflow
from contracts.samples import CANCEL, RECORD, Samples

COMPLETE: Samples = {
    CancelWorkflow: CANCEL,
    SignalWorkflow: {"name": "payment-received", "data": {"amount": "99.50"}, "by": "shop"},
    RedriveDeadLetter: {"service": "router", **RECORD},
}
