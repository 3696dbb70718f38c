"""What streams say to what they hear: rules 2, 6, 7 and 10 of the record, without a server."""

import json

from shared.kafka.record import Record
from shared.runtime.hearing import woken
from shared.runtime.turns import Live, Work
from shared.store.record import Stream
from tests.unit.toy import NOON, Count, ear, floor, request

STREAM = Stream("default", "w1", "router")


def turn(*records: Record, live: Live[Count] | None = None) -> Work[Count]:
    work = floor.begin(STREAM, live or Live(Count()), NOON)
    for record in records:
        heard = ear.hear(record)
        assert heard is not None
        floor.hear(work, heard)
    return work


def reasons(work: Work[Count]) -> list[str]:
    return [json.loads(said.data).get("reason") for said in work.turn.said]


def test_what_is_said_carries_its_cause_its_version_and_its_hash() -> None:
    (said,) = turn(request()).turn.said
    assert (said.version, said.topic, said.kind) == (1, "router.events", "hansard.router.request-routed.v1")


def test_the_same_hearing_gives_the_same_bytes_and_ids() -> None:
    assert turn(request()).turn == turn(request()).turn


def test_a_message_is_heard_once_however_often_it_comes() -> None:
    work = turn(request(), request(offset=1), request(offset=2))
    assert (len(work.turn.hearings), len(work.turn.said)) == (1, 1)


def test_after_it_is_confirmed_it_is_still_heard_once() -> None:
    live = turn(request()).confirm()
    assert turn(request(), live=live).turn.hearings == []


def test_a_silent_hearing_is_on_the_record_too() -> None:
    work = turn(request("silence"))
    assert (len(work.turn.hearings), work.turn.said) == (1, [])


def test_nothing_is_kept_before_it_is_confirmed() -> None:
    live = Live(Count())
    turn(request(), live=live)
    assert live == Live(Count())


def test_later_hearings_of_a_batch_know_what_the_earlier_ones_said() -> None:
    said = turn(request("a", id="1"), request("b", id="2")).turn.said
    assert [json.loads(event.data)["reasoning"][:3] for event in said] == ["a 0", "b 1"]


def test_the_same_id_with_another_body_is_a_dead_letter() -> None:
    work = turn(request("a"), request("b", offset=1))
    assert reasons(work) == [None, "id-reused"]
    assert [hearing.dead for hearing in work.turn.hearings] == [False, True]


def test_the_same_id_with_another_body_is_a_dead_letter_once() -> None:
    assert reasons(turn(request("a"), request("b", offset=1), request("b", offset=2))) == [None, "id-reused"]


def test_a_decision_that_fails_is_a_dead_letter_with_its_cause_and_the_next_goes_on() -> None:
    work = turn(request("poison", id="1"), request("good", id="2"))
    assert reasons(work) == ["poison", None]
    assert "ZeroDivisionError" in json.loads(work.turn.said[0].data)["detail"]


def test_what_is_turned_away_is_a_dead_letter_with_the_deciders_reason() -> None:
    assert reasons(turn(request("away"))) == ["correlation-in-use"]


def test_what_would_be_too_large_to_say_is_a_dead_letter_before_it_is_recorded() -> None:
    assert reasons(turn(request("large"))) == ["too-large"]


def redriven(text: str) -> Record:
    return request(text)


def again(record: Record, live: Live[Count]) -> Work[Count]:
    heard = ear.hear(record)
    assert heard is not None
    heard.redrive = True
    work = floor.begin(STREAM, live, NOON)
    floor.hear(work, heard)
    return work


def test_a_redrive_is_decided_while_its_hearing_is_dead() -> None:
    work = again(request("poison"), turn(request("poison")).confirm())
    assert [(hearing.attempt, hearing.dead) for hearing in work.turn.hearings] == [(2, True)]


def test_a_redrive_of_what_was_heard_alive_is_not_decided_again() -> None:
    assert again(request("good"), turn(request("good")).confirm()).turn.hearings == []


def test_a_redrive_of_what_was_never_heard_is_not_decided() -> None:
    assert again(request("good"), Live(Count())).turn.hearings == []


def test_a_redrive_with_other_bytes_is_never_decided_in_the_name_of_the_dead() -> None:
    work = again(request("forged"), turn(request("poison")).confirm())
    assert work.turn.hearings == []


def test_two_dead_attempts_are_two_dead_letters() -> None:
    first = turn(request("poison"))
    second = again(request("poison"), first.confirm())
    assert first.turn.said[0].id != second.turn.said[0].id


def test_a_waking_made_for_another_count_of_hearings_is_stale() -> None:
    work = turn(request())
    assert floor.hear(work, woken(STREAM, 0)) is False
