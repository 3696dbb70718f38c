"""Messages that a producer was given and that no broker has acknowledged yet, queued by partition. No I/O."""

from collections import deque

from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.connection import partition_of

Key = tuple[Stream, int]


class PartitionQueue:
    """One partition: the messages that wait, and the one batch that is in flight."""

    __slots__ = ("in_flight", "partition", "sent_at", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition  # without the prefix
        self.waiting: deque[StoredMessage] = deque()
        self.in_flight: list[StoredMessage] = []
        self.sent_at = 0.0  # monotonic


class Queues:
    """All partitions. A message leaves when it is acknowledged, or with all others by `clear`."""

    def __init__(self) -> None:
        self.unacknowledged: set[Key] = set()
        self.bytes = 0  # data of the unacknowledged messages
        self.ready: deque[PartitionQueue] = deque()  # queues with waiting messages and no batch in flight
        self.partitions: dict[str, int] = {}  # the number of partitions of each topic, if known
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._unrouted: dict[str, list[StoredMessage]] = {}  # by topic, until its partitions are known
        self._acknowledged: dict[Key, None] = {}

    def knows(self, message: StoredMessage) -> bool:
        """Whether it is queued, in flight, or acknowledged since `take_acknowledged`."""
        key = message.stream, message.version
        return key in self.unacknowledged or key in self._acknowledged

    def add(self, message: StoredMessage) -> bool:
        """Queues it behind the others of its partition. True if the caller must find out the topic's partitions first."""
        self.unacknowledged.add((message.stream, message.version))
        self.bytes += len(message.data)
        if message.topic in self.partitions:
            self._route(message)
            return False
        unrouted = self._unrouted.setdefault(message.topic, [])
        unrouted.append(message)
        return len(unrouted) == 1

    def found_partitions(self, topic: str, partitions: int) -> None:
        """Moves waiting messages to the topic's partitions."""
        self.partitions[topic] = partitions
        for message in self._unrouted.pop(topic, ()):
            self._route(message)

    def _route(self, message: StoredMessage) -> None:
        place = message.topic, partition_of(message.stream.workflow, self.partitions[message.topic])
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = PartitionQueue(*place)
        if not queue.waiting and not queue.in_flight:
            self.ready.append(queue)
        queue.waiting.append(message)

    def acknowledge(self, queue: PartitionQueue) -> None:
        """Notes that the brokers acknowledged the batch."""
        for message in queue.in_flight:
            key = message.stream, message.version
            self.unacknowledged.discard(key)
            self._acknowledged[key] = None
            self.bytes -= len(message.data)
        queue.in_flight = []
        if queue.waiting:
            self.ready.append(queue)

    def take_acknowledged(self) -> list[Key]:
        """The messages that were acknowledged since the last call."""
        taken, self._acknowledged = list(self._acknowledged), {}
        return taken

    @property
    def are_in_flight(self) -> bool:
        """Whether any batch is in flight."""
        return any(queue.in_flight for queue in self._queues.values())

    def are_late(self, since: float) -> bool:
        """Whether a batch that was sent before `since` is still in flight."""
        return any(queue.in_flight and queue.sent_at < since for queue in self._queues.values())

    def clear(self) -> None:
        """Forgets all messages but the acknowledged ones."""
        self.unacknowledged, self.bytes, self.partitions = set(), 0, {}
        self._queues, self._unrouted = {}, {}
        self.ready.clear()
