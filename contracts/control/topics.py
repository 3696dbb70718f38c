from contracts.control.messages import CancelWorkflow, RedriveDeadLetter, SignalWorkflow
from hansard.topics import EVERY_SERVICE, Topic

TOPICS = (
    Topic(
        "control",
        "Cancel a workflow, tell it that an event has come, redrive a dead letter.",
        (CancelWorkflow, SignalWorkflow, RedriveDeadLetter),
        consumers=(EVERY_SERVICE,),
        door=True,
    ),
)
