from contracts.control.messages import CancelWorkflow, RedriveDeadLetter
from contracts.samples import CANCEL, RECORD, Samples

COMPLETE: Samples = {
    CancelWorkflow: CANCEL,
    RedriveDeadLetter: {"service": "router", **RECORD},
}
