"""Golden examples, frozen: today's code reads what was written once, and writes it the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from contracts.requests import SubmitRequest
from contracts.tools import generate
from contracts.tools.goldens import Golden, complete, folder_of, paths
from hansard.codec import decode, encode
from hansard.envelope import Envelope, headers, read
from hansard.message import Message

GOLDENS = [golden for of_kind in generate.goldens().values() for golden in of_kind]
KINDS = generate.CATALOGUE.kinds

every_golden = pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.file)


def stored(golden: Golden) -> tuple[Envelope, Message]:
    envelope = read(golden.body.encode(), [(name, value.encode()) for name, value in golden.headers.items()])
    return envelope, decode(KINDS[envelope.type], envelope.data)


def only(shape: Any, value: Any) -> Any:
    """`value` without the fields that `shape` does not have: those that were added after it was written."""
    if isinstance(shape, dict) and isinstance(value, dict):
        return {name: only(shape[name], inner) for name, inner in value.items() if name in shape}
    if isinstance(shape, list) and isinstance(value, list) and len(shape) == len(value):
        return [only(one, inner) for one, inner in zip(shape, value, strict=True)]
    return value


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def test_every_kind_has_a_complete_and_a_minimal_example() -> None:
    names = {kind: {golden.name for golden in of_kind} for kind, of_kind in generate.goldens().items()}
    assert {kind for kind in KINDS if not names.get(kind, set()) >= {"complete", "minimal"}} == set()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_sample_names_every_field_of_its_kind(kind: type[Message]) -> None:
    given = complete(kind)
    forgotten = set(paths(json.loads(encode(decode(kind, json.dumps(given).encode()))))) - set(paths(given))
    assert forgotten - {".text"} == set() if kind is SubmitRequest else forgotten == set()  # free or typed, never both


@every_golden
def test_a_stored_message_is_decoded_and_encoded_the_same(golden: Golden) -> None:
    _, message = stored(golden)
    assert compact(only(json.loads(golden.body), json.loads(encode(message)))) == golden.body


@every_golden
def test_what_a_sender_wrote_means_the_same(golden: Golden) -> None:
    """A changed default would change the meaning of old messages."""
    message = decode(KINDS[golden.kind], json.dumps(golden.given).encode())
    assert compact(only(json.loads(golden.body), json.loads(encode(message)))) == golden.body


@every_golden
def test_an_old_envelope_is_read_and_written_the_same(golden: Golden) -> None:
    envelope, _ = stored(golden)
    assert envelope.type == golden.kind
    assert envelope.data == golden.body.encode()
    assert [(name, value.decode()) for name, value in headers(envelope)] == list(golden.headers.items())
    assert golden.key == envelope.correlation_id


def newer(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: newer(inner) for name, inner in value.items()} | {"a_field_of_tomorrow": {"deep": [1, None]}}
    return [newer(inner) for inner in value] if isinstance(value, list) else value


JSON_FIELDS = {"data", "input", "facts", "tools", "response_schema", "answer"}  # any JSON: what is added there is content


def without_json(value: Any) -> Any:
    if isinstance(value, dict):
        json_fields = JSON_FIELDS | ({"action"} if "action_from" in value else set())  # of a gate: fields of an action
        return {n: without_json(inner) for n, inner in value.items() if n not in json_fields or isinstance(inner, str)}
    return [without_json(inner) for inner in value] if isinstance(value, list) else value


@every_golden
def test_fields_of_a_newer_version_are_ignored_at_any_depth(golden: Golden) -> None:
    body = without_json(json.loads(golden.body))
    if golden.kind == "hansard.requests.submit.v1" and golden.name == "complete":
        body["type"] = "invoice.total"
    kind = KINDS[golden.kind]
    assert decode(kind, json.dumps(newer(body)).encode()) == decode(kind, json.dumps(body).encode())


def test_headers_of_a_newer_version_are_ignored() -> None:
    golden = GOLDENS[0]
    given = [(name, value.encode()) for name, value in golden.headers.items()]
    assert read(golden.body.encode(), [*given, ("ce_tomorrow", b"1"), ("x-other", b"\xff")]) == read(golden.body.encode(), given)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the schemas and examples that a test may spoil."""
    for kept in (*generate.HERE.glob("*/examples"), *generate.HERE.glob("*/schemas")):
        shutil.copytree(kept, tmp_path / kept.relative_to(generate.HERE))
    shutil.copy(generate.HERE / "asyncapi.json", tmp_path)
    return tmp_path


def test_what_is_generated_is_not_stale() -> None:
    assert list(generate.stale()) == []


def test_an_edited_example_is_seen(copy: Path) -> None:
    example = copy / GOLDENS[0].path
    example.write_text(example.read_text().replace("order-77", "order-78"))
    assert [f"{GOLDENS[0].file} was edited" in line for line in generate.stale(copy) if "examples" in line] == [True]


def test_a_removed_example_is_seen(copy: Path) -> None:
    (copy / GOLDENS[0].path).unlink()
    assert any(f"{GOLDENS[0].file} was removed" in line for line in generate.stale(copy))


def test_an_example_that_is_not_in_the_manifest_is_seen(copy: Path) -> None:
    shutil.copy(copy / GOLDENS[0].path, (copy / GOLDENS[0].path).with_name("by-hand.json"))
    assert any("by-hand.json is not in MANIFEST.sha256" in line for line in generate.stale(copy))


def test_an_edited_schema_and_an_edited_asyncapi_are_seen(copy: Path) -> None:
    (copy / "asyncapi.json").write_text("{}")
    (copy / "requests" / "schemas" / "hansard.requests.submit.v1.json").unlink()
    assert sum("is stale: make contracts" in line for line in generate.stale(copy)) == 2


def test_the_schema_of_a_kind_that_was_removed_is_seen(copy: Path) -> None:
    (copy / "requests" / "schemas" / "hansard.requests.submit.v0.json").write_text("{}")
    assert any("a kind is never taken away" in line for line in generate.stale(copy))


def test_new_examples_are_only_ever_added(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.glob("*/examples/*.json")}
    assert list(generate.add_examples(copy)) == []
    grown = {golden.kind for golden in GOLDENS if golden.name == "complete-2"}  # a new example of these shows a later field
    kept = next(golden for golden in GOLDENS if golden.kind not in grown)
    removed = (copy / kept.path).with_name(f"{kept.kind}.minimal.json")
    manifest = removed.with_name("MANIFEST.sha256")
    manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if removed.name not in line))
    removed.unlink()
    assert list(generate.add_examples(copy)) == [str(removed.relative_to(copy))]
    assert {path: path.read_bytes() for path in copy.glob("*/examples/*.json")} == before
    assert list(generate.stale(copy)) == []


def test_a_field_that_no_example_shows_asks_for_one_more(copy: Path) -> None:
    """When a field is added, the old example stays and a new one shows the field."""
    kind = "hansard.results.failed.v1"
    examples = sorted((copy / folder_of(KINDS[kind]) / "examples").glob(f"{kind}.complete*.json"))
    for example in examples:
        old = json.loads(example.read_text())
        body = json.loads(old["body"])
        del body["partial"][0]["tier"]
        example.write_text(json.dumps(old | {"body": compact(body)}))
    assert list(generate.add_examples(copy)) == [f"results/examples/{kind}.complete-{len(examples) + 1}.json"]
