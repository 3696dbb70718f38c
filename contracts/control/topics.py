from contracts.control.messages import CancelWorkflow, RedriveDeadLetter
from hansard.topics import EVERY_SERVICE, Topic

TOPICS = (
    Topic(
        "control",
        "Cancel a workflow, redrive a dead letter.",
        (CancelWorkflow, RedriveDeadLetter),
        consumers=(EVERY_SERVICE,),
        door=True,
    ),
)
