"""What streams say to what they hear: rules 2, 6, 7 and 10 of the record, without a server."""

import json

from shared.eventstore.model import Stream
from shared.kafka.record import Record
from shared.runtime.inbound import wake_up
from shared.runtime.processor import PendingAppend, StreamState
from tests.unit.toy import NOON, Count, parser, processor, request

STREAM = Stream("default", "w1", "router")


def turn(*records: Record, known: StreamState[Count] | None = None) -> PendingAppend[Count]:
    pending = processor.begin(STREAM, known or StreamState(Count()), NOON)
    for record in records:
        inbound = parser.parse(record)
        assert inbound is not None
        processor.process(pending, inbound)
    return pending


def reasons(pending: PendingAppend[Count]) -> list[str]:
    return [json.loads(stored.data).get("reason") for stored in pending.stream_append.messages]


def test_what_is_said_carries_its_cause_its_version_and_its_hash() -> None:
    (stored,) = turn(request()).stream_append.messages
    assert (stored.version, stored.topic, stored.kind) == (1, "router.events", "hansard.router.request-routed.v1")


def test_the_same_hearing_gives_the_same_bytes_and_ids() -> None:
    assert turn(request()).stream_append == turn(request()).stream_append


def test_a_message_is_heard_once_however_often_it_comes() -> None:
    pending = turn(request(), request(offset=1), request(offset=2))
    assert (len(pending.stream_append.entries), len(pending.stream_append.messages)) == (1, 1)


def test_after_it_is_confirmed_it_is_still_heard_once() -> None:
    known = turn(request()).confirm()
    assert turn(request(), known=known).stream_append.entries == []


def test_a_silent_hearing_is_on_the_record_too() -> None:
    pending = turn(request("silence"))
    assert (len(pending.stream_append.entries), pending.stream_append.messages) == (1, [])


def test_nothing_is_kept_before_it_is_confirmed() -> None:
    known = StreamState(Count())
    turn(request(), known=known)
    assert known == StreamState(Count())


def test_later_hearings_of_a_batch_know_what_the_earlier_ones_said() -> None:
    stored = turn(request("a", id="1"), request("b", id="2")).stream_append.messages
    assert [json.loads(event.data)["reasoning"][:3] for event in stored] == ["a 0", "b 1"]


def test_the_same_id_with_another_body_is_a_dead_letter() -> None:
    pending = turn(request("a"), request("b", offset=1))
    assert reasons(pending) == [None, "id-reused"]
    assert [entry.dead for entry in pending.stream_append.entries] == [False, True]


def test_the_same_id_with_another_body_is_a_dead_letter_once() -> None:
    assert reasons(turn(request("a"), request("b", offset=1), request("b", offset=2))) == [None, "id-reused"]


def test_a_decision_that_fails_is_a_dead_letter_with_its_cause_and_the_next_goes_on() -> None:
    pending = turn(request("poison", id="1"), request("good", id="2"))
    assert reasons(pending) == ["poison", None]
    assert "ZeroDivisionError" in json.loads(pending.stream_append.messages[0].data)["detail"]


def test_what_is_turned_away_is_a_dead_letter_with_the_deciders_reason() -> None:
    assert reasons(turn(request("away"))) == ["correlation-in-use"]


def test_what_would_be_too_large_to_say_is_a_dead_letter_before_it_is_recorded() -> None:
    assert reasons(turn(request("large"))) == ["too-large"]


def redriven(text: str) -> Record:
    return request(text)


def again(record: Record, known: StreamState[Count]) -> PendingAppend[Count]:
    inbound = parser.parse(record)
    assert inbound is not None
    inbound.redrive = True
    pending = processor.begin(STREAM, known, NOON)
    processor.process(pending, inbound)
    return pending


def test_a_redrive_is_decided_while_its_hearing_is_dead() -> None:
    pending = again(request("poison"), turn(request("poison")).confirm())
    assert [(entry.attempt, entry.dead) for entry in pending.stream_append.entries] == [(2, True)]


def test_a_redrive_of_what_was_heard_alive_is_not_decided_again() -> None:
    assert again(request("good"), turn(request("good")).confirm()).stream_append.entries == []


def test_a_redrive_of_what_was_never_heard_is_not_decided() -> None:
    assert again(request("good"), StreamState(Count())).stream_append.entries == []


def test_a_redrive_with_other_bytes_is_never_decided_in_the_name_of_the_dead() -> None:
    pending = again(request("forged"), turn(request("poison")).confirm())
    assert pending.stream_append.entries == []


def test_two_dead_attempts_are_two_dead_letters() -> None:
    first = turn(request("poison"))
    second = again(request("poison"), first.confirm())
    assert first.stream_append.messages[0].id != second.stream_append.messages[0].id


def test_a_waking_made_for_another_count_of_hearings_is_stale() -> None:
    pending = turn(request())
    assert processor.process(pending, wake_up(STREAM, 0)) is False
