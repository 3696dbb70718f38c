"""Whatever is in a record batch, reading its partition does not raise."""

import struct
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.connection import connection
from shared.kafka.record_batches import Records, decode
from shared.settings import Settings

octets = st.none() | st.binary(max_size=300)
record = st.tuples(octets, octets, st.lists(st.tuples(st.text(max_size=20), octets), max_size=4))


def batch(records: list[Any], compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, 0, 1 << 20)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset, 1_700_000_000_000 + offset, key, value, headers)
    return bytes(builder.build())


def shown(records: Any) -> list[Any]:
    return [(one.offset, one.timestamp, one.key, one.value, list(one.headers)) for one in records]


@given(st.lists(record, min_size=1, max_size=8), st.sampled_from([0, 1]))
def test_batches_are_read_as_aiokafka_reads_them(records: list[Any], compression: int) -> None:
    buffer = batch(records, compression)
    expected = shown(MemoryRecords(buffer).next_batch())
    assert shown(decode(buffer, -1, ValueError())) == expected
    assert shown(Records(buffer).next_batch()) == expected


def test_only_a_header_name_that_is_not_utf8_stays_bytes() -> None:
    buffer = batch([(b"k", b"0", []), (b"k", b"1", [("??", b"x"), ("ok", None)]), (b"k", b"2", [])])
    odd = buffer.replace(b"??", b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(odd).next_batch())
    found = list(Records(odd).next_batch())
    assert [one.value for one in found] == [b"0", b"1", b"2"]
    assert list(found[1].headers) == [(b"\xff\xfe", b"x"), ("ok", None)]
    assert [one.checksum for one in found] == [None] * 3


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5, 6, 7])
def test_a_batch_that_cannot_be_decompressed_is_a_fault_at_every_offset(codec: int) -> None:
    buffer = bytearray(batch([(b"k", b"v", [])] * 3))
    struct.pack_into(">h", buffer, 21, codec)
    found = list(Records(bytes(buffer)).next_batch())
    assert [one.offset for one in found] == [0, 1, 2]
    assert all("cannot be read" in one.checksum and one.value is None for one in found)


@given(st.lists(record, min_size=1, max_size=4), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=5))
def test_damage_never_raises_and_never_yields_an_offset_outside_the_batch(
    records: list[Any], damage: list[tuple[float, int]]
) -> None:
    buffer = bytearray(batch(records))
    for place, octet in damage:
        buffer[61 + int(place * (len(buffer) - 61))] = octet
    found = [one.offset for one in decode(bytes(buffer), -1, ValueError())]
    assert found == sorted(set(found))
    assert set(found) <= set(range(len(records)))
    list(Records(bytes(buffer)).next_batch())


def test_the_batches_after_an_unreadable_one_are_read() -> None:
    bad = bytearray(batch([(b"k", b"v", [])]))
    struct.pack_into(">h", bad, 21, 7)
    records = Records(bytes(bad) + batch([(b"k", b"good", [])]))
    values = []
    while records.has_next():
        values += [one.value for one in records.next_batch()]
    assert values == [None, b"good"]


def test_the_settings_say_how_brokers_are_reached() -> None:
    plain = connection(Settings(kafka="a:1, b:2"))
    assert plain["bootstrap_servers"] == ["a:1", "b:2"]
    assert "ssl_context" not in plain
    assert "sasl_mechanism" not in plain
    found = connection(
        Settings(kafka="a:1", kafka_security="SASL_SSL", kafka_mechanism="SCRAM-SHA-512", kafka_username="u", kafka_password="p")
    )
    assert (found["sasl_mechanism"], found["sasl_plain_username"], found["sasl_plain_password"]) == ("SCRAM-SHA-512", "u", "p")
    assert found["ssl_context"].check_hostname
