"""Every topic, once. Provisioning, AsyncAPI, access rules, the runtime and the tests read this table."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from contracts import (
    control,
    dead_letters,
    gateway,
    planner,
    requests,
    results,
    router,
    specialists,
    verifier,
)
from hansard.message import Message
from hansard.service import Service
from hansard.tasks import task_topics
from hansard.topics import Kind as Kind
from hansard.topics import Topic as Topic
from hansard.topics import extended

SERVICES = ("router", "planner", "specialists", "verifier", "gateway")


_TASK_COMMANDS: tuple[Kind, ...] = (specialists.PerformTask, specialists.CancelTask)
_TASK_EVENTS: tuple[Kind, ...] = (specialists.TaskAnswered, specialists.TaskFailed, specialists.TaskCancelled)

_TOPICS = (
    Topic("requests", "Publish requests here.", (requests.SubmitRequest,), consumers=("router",), door=True),
    Topic(
        "control",
        "Cancel a workflow, redrive a dead letter.",
        (control.CancelWorkflow, control.RedriveDeadLetter),
        consumers=SERVICES,
        door=True,
    ),
    Topic(
        "results",
        "Consume results here: one terminal message a workflow.",
        (
            results.WorkflowCompleted,
            results.WorkflowFailed,
            results.WorkflowRefused,
            results.WorkflowCancelled,
        ),
        producers=("router", "planner"),
        consumers=("console",),
    ),
    Topic(
        "dead-letters",
        "What could not be heard, with its cause, attempts and origin.",
        (dead_letters.DeadLettered,),
        producers=SERVICES,
        consumers=("router", "planner", "console"),
    ),
    Topic(
        "router.events",
        "How each request is answered, and why.",
        (router.RequestRouted, router.CancelNoted),
        ("router",),
        ("console",),
    ),
    Topic(
        "planner.commands",
        "Plans to run, and workflows whose deadline has passed.",
        (planner.RunPlan, planner.ExpireWorkflow),
        ("router",),
        ("planner",),
    ),
    Topic(
        "planner.events",
        "The course of every plan.",
        (
            planner.PlanStarted,
            planner.PlanRejected,
            planner.StepAnswered,
            planner.StepPassed,
            planner.StepRetried,
            planner.StepFailed,
            planner.StepSkipped,
            planner.StepCancelled,
            planner.PlanCancelNoted,
        ),
        ("planner",),
        ("console",),
    ),
    Topic("specialists.commands", "Tasks for the specialists.", _TASK_COMMANDS, ("planner",), ("specialists",)),
    Topic(
        "specialists.events",
        "What became of each task.",
        _TASK_EVENTS,
        ("specialists",),
        ("planner", "console"),
    ),
    Topic("verifier.commands", "Claims to check.", (verifier.CheckClaim,), ("planner",), ("verifier",)),
    Topic(
        "verifier.events",
        "Verdicts, with reasons.",
        (verifier.ClaimPassed, verifier.ClaimRejected),
        ("verifier",),
        ("planner", "console"),
    ),
    Topic(
        "gateway.commands",
        "Model calls to make, and replies that did not hold.",
        (gateway.CallModel, gateway.CancelCall, gateway.RejectReply),
        ("specialists", "verifier"),
        ("gateway",),
    ),
    Topic(
        "gateway.events",
        "The course of every model call: intents, receipts, costs; circuits and budgets. For watching: no service waits for it.",
        (
            gateway.CallAccepted,
            gateway.AttemptStarted,
            gateway.AttemptFailed,
            gateway.CallCancelled,
            gateway.ReplyDiscarded,
            gateway.ReplyRejected,
            gateway.CircuitOpened,
            gateway.ProbeGranted,
            gateway.CircuitClosed,
            gateway.RetriesGranted,
        ),
        ("gateway",),
        ("console",),
    ),
    Topic(
        "gateway.replies",
        "How every model call ended: what its asker waits for.",
        (gateway.ModelReplied, gateway.ModelFailed),
        ("gateway",),
        ("specialists", "verifier", "console"),
    ),
    Topic(
        "tokens",
        "Answers while they are being written: for watching, gone after minutes, never on the record.",
        (gateway.TokensStreamed,),
        ("gateway",),
        ("console",),
        retention_ms=10 * 60_000,
    ),
)


@dataclass(frozen=True)
class Topics:
    """The catalogue of a deployment. `workers` names services of the user's own that take tasks, `outside` those of them that
    do not store what they publish; `services` are the user's own as far as this process has loaded them."""

    workers: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    services: tuple[Service[Any], ...] = ()

    @cached_property
    def added(self) -> tuple[str, ...]:
        """The names of all services of the user's own."""
        return tuple(dict.fromkeys((*self.workers, *self.outside, *(service.name for service in self.services))))

    def _own(self, name: str) -> tuple[Topic, ...]:
        """What a service of the user's own brings: it says so itself, or has the two topics of a worker."""
        loaded = next((service for service in self.services if service.name == name), None)
        return loaded.topics if loaded and loaded.topics else task_topics(name, outside=name in self.outside)

    @cached_property
    def all(self) -> tuple[Topic, ...]:
        own = tuple(topic for name in self.added for topic in self._own(name))
        hears_all = tuple(
            replace(
                t,
                producers=t.producers + self.added * (t.name == "dead-letters"),
                consumers=t.consumers + self.added * (t.name == "control"),
            )
            for t in _TOPICS
        )
        return extended(hears_all, own)

    @cached_property
    def by_name(self) -> dict[str, Topic]:
        return {topic.name: topic for topic in self.all}

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Every kind of message by its CloudEvents type."""
        return {kind.kind: kind for topic in self.all for kind in topic.kinds}

    @cached_property
    def _produced(self) -> dict[tuple[str, Kind], tuple[str, ...]]:
        produced: dict[tuple[str, Kind], tuple[str, ...]] = {}
        for topic in filter(lambda topic: topic.recorded, self.all):
            for producer in topic.producers:
                for kind in topic.kinds:
                    produced[producer, kind] = (*produced.get((producer, kind), ()), topic.name)
        return produced

    def consumed_by(self, service: str) -> tuple[Topic, ...]:
        return tuple(topic for topic in self.all if service in topic.consumers)

    def for_message(self, producer: str, message: Message) -> str:
        """The topic on which `speaker` says this. Where several carry the kind, the message names the service it is for.

        Raises LookupError where the table does not let this speaker say it on the record.
        """
        names = self._produced.get((producer, type(message)), ())
        if len(names) > 1:
            names = tuple(name for name in names if name == f"{getattr(message, 'service', '')}.commands")
        if len(names) != 1:
            raise LookupError(f"{producer} has no topic on which to say {type(message).kind}")
        return names[0]
