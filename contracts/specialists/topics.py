from contracts.specialists.messages import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.topic import Topic


def worker_topics(name: str) -> tuple[Topic, ...]:
    """The two topics of a worker, the specialists or a service of the user's own: the tasks it receives, how each one ended."""
    return (
        Topic(f"{name}.commands", f"Tasks for {name}.", (PerformTask, CancelTask), ("planner",), (name,)),
        Topic(
            f"{name}.events",
            "How each task ended.",
            (TaskAnswered, TaskFailed, TaskCancelled),
            (name,),
            ("planner", "console"),
        ),
    )


TOPICS = worker_topics("specialists")
