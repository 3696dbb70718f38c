"""What is decided of a batch: rules 2, 6, 7 and 10 of the record, without a server."""

import json

from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.inbound import wake_up
from shared.runtime.processor import PendingAppend, StreamState
from tests.unit.toy import NOON, Count, parser, processor, request

STREAM = Stream("default", "w1", "router")


def decided(*records: Record, loaded: StreamState[Count] | None = None) -> PendingAppend[Count]:
    pending = processor.begin(STREAM, loaded or StreamState(Count()), NOON)
    for record in records:
        inbound = parser.parse(record)
        assert inbound is not None
        processor.process(pending, inbound)
    return pending


def reasons(pending: PendingAppend[Count]) -> list[str]:
    return [json.loads(stored.data).get("reason") for stored in pending.messages]


def test_a_stored_message_has_its_version_topic_and_kind() -> None:
    (stored,) = decided(request()).messages
    assert (stored.version, stored.topic, stored.kind) == (1, "router.events", "hansard.router.request-routed.v1")


def test_the_same_message_on_the_same_history_gives_the_same_bytes_and_ids() -> None:
    assert decided(request()) == decided(request())


def test_a_message_is_processed_once_however_often_it_is_delivered() -> None:
    pending = decided(request(), request(offset=1), request(offset=2))
    assert (len(pending.entries), len(pending.messages)) == (1, 1)


def test_after_it_is_confirmed_it_is_not_processed_again() -> None:
    loaded = decided(request()).confirm()
    assert decided(request(), loaded=loaded).entries == []


def test_an_entry_without_messages_is_recorded_too() -> None:
    pending = decided(request("silence"))
    assert (len(pending.entries), pending.messages) == (1, [])


def test_the_cached_stream_does_not_change_before_it_is_confirmed() -> None:
    loaded = StreamState(Count())
    decided(request(), loaded=loaded)
    assert loaded == StreamState(Count())


def test_a_message_is_decided_on_the_state_after_the_earlier_ones_of_its_batch() -> None:
    stored = decided(request("a", id="1"), request("b", id="2")).messages
    assert [json.loads(one.data)["reasoning"][:3] for one in stored] == ["a 0", "b 1"]


def test_the_same_id_with_another_body_is_a_dead_letter() -> None:
    pending = decided(request("a"), request("b", offset=1))
    assert reasons(pending) == [None, "id-reused"]
    assert [entry.dead for entry in pending.entries] == [False, True]


def test_the_same_id_with_another_body_is_a_dead_letter_once() -> None:
    assert reasons(decided(request("a"), request("b", offset=1), request("b", offset=2))) == [None, "id-reused"]


def test_a_decision_that_fails_is_a_dead_letter_with_its_cause_and_the_next_message_is_processed() -> None:
    pending = decided(request("poison", id="1"), request("good", id="2"))
    assert reasons(pending) == ["poison", None]
    assert "ZeroDivisionError" in json.loads(pending.messages[0].data)["detail"]


def test_a_message_that_the_decider_cannot_process_is_a_dead_letter_with_its_reason() -> None:
    assert reasons(decided(request("in use"))) == ["correlation-in-use"]


def test_a_message_that_is_too_large_to_publish_becomes_a_dead_letter_before_it_is_stored() -> None:
    assert reasons(decided(request("large"))) == ["too-large"]


def redriven(record: Record, loaded: StreamState[Count]) -> PendingAppend[Count]:
    inbound = parser.parse(record)
    assert inbound is not None
    inbound.redrive = True
    pending = processor.begin(STREAM, loaded, NOON)
    processor.process(pending, inbound)
    return pending


def test_a_redrive_is_decided_while_its_entry_is_dead() -> None:
    pending = redriven(request("poison"), decided(request("poison")).confirm())
    assert [(entry.attempt, entry.dead) for entry in pending.entries] == [(2, True)]


def test_a_redrive_of_a_processed_message_is_not_decided_again() -> None:
    assert redriven(request("good"), decided(request("good")).confirm()).entries == []


def test_a_redrive_of_an_unknown_message_is_not_decided() -> None:
    assert redriven(request("good"), StreamState(Count())).entries == []


def test_a_redrive_under_another_kind_than_the_dead_message_is_not_decided() -> None:
    """Bytes of one kind may be read as another, and whoever redrives states the headers."""
    loaded = decided(request("poison")).confirm()
    inbound = parser.parse(request("poison"))
    assert inbound is not None
    inbound.redrive, inbound.kind = True, "hansard.control.cancel.v1"
    pending = processor.begin(STREAM, loaded, NOON)
    assert not processor.process(pending, inbound)
    assert pending.entries == []


def test_a_redrive_with_other_bytes_than_the_dead_message_is_not_decided() -> None:
    pending = redriven(request("forged"), decided(request("poison")).confirm())
    assert pending.entries == []


def test_two_dead_attempts_are_two_dead_letters() -> None:
    first = decided(request("poison"))
    second = redriven(request("poison"), first.confirm())
    assert first.messages[0].id != second.messages[0].id


def test_a_wake_up_made_for_another_number_of_entries_is_stale() -> None:
    pending = decided(request())
    assert processor.process(pending, wake_up(STREAM, 0)) is False
