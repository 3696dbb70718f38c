"""The parts of the Kafka edge that need no broker: offsets, queues, and the list of places inside aiokafka."""

import inspect
import re
import uuid
from pathlib import Path
from types import SimpleNamespace

from aiokafka import TopicPartition

from shared.eventstore.model import StoredMessage, Stream
from shared.kafka import internals
from shared.kafka.offsets import Offsets
from shared.kafka.queues import Queues

P, Q = TopicPartition("t", 0), TopicPartition("t", 1)


def records(partition: TopicPartition, *offsets: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(topic=partition.topic, partition=partition.partition, offset=offset) for offset in offsets]


def message(version: int, workflow: str = "wf", data: bytes = b"1234") -> StoredMessage:
    stream = Stream("default", workflow, "router")
    return StoredMessage(stream, version, uuid.uuid4(), "k", "router.events", uuid.uuid4(), data, b"")


def test_only_what_is_read_and_done_under_this_assignment_is_committed() -> None:
    offsets = Offsets()
    offsets.assign({P, Q})
    assert offsets.read([*records(P, 3, 4), *records(Q, 7)]) == {P: 3, Q: 7}
    offsets.done(P, 4)
    offsets.done(P, 9)  # was not read
    offsets.done(P, 3)  # backwards
    assert offsets.to_commit() == {P: 4} and offsets.changed.is_set()
    offsets.committed({P: 4})
    assert offsets.to_commit() == {}
    offsets.done(Q, 8)
    offsets.revoke()
    assert offsets.to_commit() == {}
    offsets.assign({Q})
    offsets.done(Q, 8)  # read under the assignment before
    assert offsets.to_commit() == {} and offsets.assignments == 2


def test_a_batch_that_failed_is_read_again_from_what_is_not_done() -> None:
    offsets = Offsets()
    offsets.assign({P})
    first = offsets.read([*records(P, 3, 4, 5), *records(Q, 7)])
    offsets.done(P, 4)
    assert not offsets.is_idle(P)
    assert offsets.rewind(first) == {P: 4}  # the other one is not assigned
    assert offsets.is_idle(P)


def test_the_lag_is_known_once_a_position_is() -> None:
    offsets = Offsets()
    offsets.assign({P, Q})
    assert offsets.lag({P: 9, Q: 9}.get) == {}
    offsets.advance(P, 5)
    assert offsets.lag({P: 9}.get) == {P: 4}
    offsets.read(records(P, 5, 6))
    offsets.done(P, 7)
    assert offsets.lag({P: 9}.get) == {P: 2}


def test_messages_wait_for_their_topics_partitions_and_then_for_the_batch_before_them() -> None:
    queues = Queues()
    assert [queues.add(message(version)) for version in (1, 2)] == [True, False]  # asks once
    assert not queues.ready
    queues.found_partitions("router.events", 1)
    queue = queues.ready.popleft()
    queue.in_flight = [queue.waiting.popleft()]
    assert not queues.add(message(3)) and not queues.ready and queues.are_in_flight
    queues.acknowledge(queue)
    assert list(queues.ready) == [queue] and [one.version for one in queue.waiting] == [2, 3]
    assert (len(queues.unacknowledged), queues.bytes) == (2, 8)
    assert queues.knows(message(1)) and queues.knows(message(2)) and not queues.knows(message(4))
    assert queues.take_acknowledged() == [(message(1).stream, 1)]
    assert not queues.knows(message(1))


def test_after_a_failure_nothing_is_left_but_what_was_acknowledged() -> None:
    queues = Queues()
    queues.found_partitions("router.events", 1)
    for version in (1, 2):
        queues.add(message(version))
    queue = queues.ready.popleft()
    queue.in_flight = [queue.waiting.popleft()]
    queues.acknowledge(queue)
    queues.clear()
    assert (queues.unacknowledged, queues.bytes, queues.partitions, list(queues.ready)) == (set(), 0, {}, [])
    assert queues.take_acknowledged() == [(message(1).stream, 1)]


def test_every_place_inside_aiokafka_names_a_test_that_exists() -> None:
    functions = [each for _, each in inspect.getmembers(internals, inspect.isfunction) if each.__module__ == internals.__name__]
    for function in functions:
        found = re.search(r"Test: (\w+)\.(\w+)\.", function.__doc__ or "")
        assert found, f"{function.__name__} names no test"
        module = Path(__file__).parents[1] / "edge" / f"{found[1]}.py"
        assert f"def {found[2]}(" in module.read_text(), f"{function.__name__}: there is no {found[2]}"
    assert len(functions) == 5
