from contracts.dead_letters.messages import DeadLettered
from hansard.topics import EVERY_SERVICE, Topic

TOPICS = (
    Topic(
        "dead-letters",
        "Messages that could not be processed, each with its cause, attempts and origin.",
        (DeadLettered,),
        producers=(EVERY_SERVICE,),
        consumers=("router", "planner", "console"),
    ),
)
