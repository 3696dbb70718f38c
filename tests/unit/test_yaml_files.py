"""Files that people write: YAML and JSON as they are meant, and what is wrong with one in words."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infra.cli.plan_files import read_plan
from infra.cli.problem import Problem
from services.gateway.config import chain
from services.router import plans
from shared import roles
from shared.json_text import BadJson, parsed
from shared.settings import Settings
from shared.text_files import NotText, decoded
from shared.yaml_files import MAX_DEPTH, BadYaml, parsed_yaml, read_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = [*ROOT.glob("services/**/*.yaml"), *ROOT.glob("shared/**/*.yaml")]

AS_TEXT = [
    "no",
    "No",
    "NO",
    "yes",
    "on",
    "off",
    "y",
    "n",
    "12:30",
    "1:2:3",
    "010",
    "0o17",
    "0x1F",
    "0b1",
    "1_000",
    "+5",
    ".5",
    "5.",
]
AS_TEXT += [".inf", "-.inf", ".nan", "=", "2026-01-05", "None", "nil", "1e", "0123", "-01", "1."]
AS_MEANT = {
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "0": 0,
    "-7": -7,
    "1.10": 1.1,
    "1e3": 1000.0,
    "-0.5E-1": -0.05,
}


@pytest.mark.parametrize("word", [*AS_TEXT, "2026-01-05T09:00:00Z"])
def test_a_word_that_only_yaml_1_1_takes_for_something_else_is_text(word: str) -> None:
    assert parsed_yaml(f"a: {word}\nb: [{word}]") == {"a": word, "b": [word]}


@pytest.mark.parametrize(("word", "value"), AS_MEANT.items())
def test_numbers_and_words_of_json_are_what_they_are(word: str, value: object) -> None:
    found = parsed_yaml(f"a: {word}\n")["a"]
    assert (found, type(found)) == (value, type(value))
    assert parsed_yaml(f'a: "{word}"') == {"a": word}


@pytest.mark.parametrize("word", ["no", "on", "1", "010", "true", "null", "2026-01-05", "1.10", "~"])
def test_a_key_is_the_text_that_was_written(word: str) -> None:
    assert parsed_yaml(f"{word}: x") == {word: "x"}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=50), inner, max_size=3),
)


@given(values)
def test_json_is_yaml_and_reads_the_same(value: Any) -> None:
    assert parsed_yaml(json.dumps(value)) == parsed(json.dumps(value)) == value


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_what_we_ship_means_what_it_meant(file: Path) -> None:
    assert read_yaml(file) == yaml.safe_load(file.read_text("utf-8"))


TWICE = {
    "a: 1\nb: 2\na: 3": "line 3, column 1: the key 'a' is there twice (first in line 1)",
    "steps:\n- id: one\n  id: two": "line 3, column 3: the key 'id' is there twice (first in line 2)",
    "x: {k: 1, k: 2}": "line 1, column 11: the key 'k'",
    "1: a\n'1': b": "line 2, column 1: the key '1'",
    "<<: {a: 1}\n<<: {b: 1}": "line 2, column 1: the key '<<'",
    "a: &m\n  k: 1\n  k: 2\nb: *m": "line 3, column 3: the key 'k'",
}


@pytest.mark.parametrize(("text", "message"), TWICE.items())
def test_a_key_that_is_there_twice_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadYaml) as refused:
        parsed_yaml(text)
    assert str(refused.value).startswith(message)


def test_the_same_key_in_two_mappings_is_no_repetition_and_merged_keys_may_be_replaced() -> None:
    assert parsed_yaml("- {a: 1}\n- {a: 2}") == [{"a": 1}, {"a": 2}]
    assert parsed_yaml("b: &b {x: 1, y: 2}\nc: {<<: *b, x: 3}")["c"] == {"x": 3, "y": 2}
    assert parsed_yaml("p: &p {x: 1}\nq: &q {x: 2, z: 3}\nr: {<<: [*p, *q]}")["r"] == {"x": 1, "z": 3}


def bomb(first: str, join: str) -> str:
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} {join % ', '.join([f'*a{n - 1}'] * 9)}" for n in range(1, 12)]
    return "\n".join(lines)


REFUSED = {
    bomb("[x]", "[%s]"): "aliases repeat",
    bomb("{k: x}", "{<<: [%s]}"): "aliases repeat",
    "a: &a [*a]": "inside of what it names",
    "a: &a {<<: *a}": "inside of what it names",
    "a: *unknown": "undefined alias",
    "[" * 5000: f"more than {MAX_DEPTH} levels",
    "a: 1e400": "the number 1e400 is too large",
    f"a: {'9' * 5000}": "line 1, column 4",
    "a: !!set {b}": "the tag !!set is not taken",
    "a: !!binary aGk=": "the tag !!binary is not taken",
    "a: !!python/object/apply:os.system [x]": "is not taken",
    "a: !!int '010'": "'010' is no !!int",
    'a: "\\ud83d"': "half of a surrogate pair",
    "? [a]\n: b": "a key must be a word",
    "a\n---\nb": "expected a single document",
    "a: x\x1b": "U+001B may not stand in YAML",
    "a: b: c": "line 1, column 5",
    "a" * 300_000: "more than 262,144 characters",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=REFUSED.values())
def test_yaml_that_is_not_taken_is_refused_in_a_sentence_and_soon(text: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises(BadYaml) as refused:
        parsed_yaml(text)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert time.process_time() - began < 20


def test_the_escapes_of_a_surrogate_pair_are_one_character() -> None:
    assert parsed_yaml('a: "\\ud83d\\ude00"') == {"a": "😀"}


BAD_JSON = {
    '{"a": 1, "a": 2}': "the key 'a' is there twice",
    '{"a": {"b": 1, "b": 2}}': "the key 'b' is there twice",
    "[1e400]": "too large",
    "[NaN]": "NaN is no number",
    "[-Infinity]": "is no number",
    '["\\ud800"]': "half of a surrogate pair",
    '{"\\udc00": 1}': "half of a surrogate pair",
    "[" * 100_000: "nested too deep",
    f"[{'9' * 5000}]": "that can be read",
    "{": "line 1, column 2",
}


@pytest.mark.parametrize(("text", "message"), BAD_JSON.items(), ids=BAD_JSON.values())
def test_json_that_would_not_arrive_as_it_was_written_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadJson, match=message):
        parsed(text)


NOT_TEXT = {
    "text".encode("utf-16"): "it is in UTF-16",
    b"\xfe\xff" + "text".encode("utf-16-be"): "it is in UTF-16",
    "text".encode("utf-32"): "it is in UTF-32",
    "text".encode("utf-16-le"): "it seems to be in UTF-16, without its mark",
    "text".encode("utf-16-be"): "it seems to be in UTF-16, without its mark",
    "a\nüber".encode("latin-1"): r"line 2 is not in UTF-8 \(byte 0xfc\)",
    b"one\ntwo\n\x00": "line 3 holds a NUL",
}


@pytest.mark.parametrize(("raw", "message"), NOT_TEXT.items())
def test_bytes_that_are_no_utf_8_are_refused_in_words(raw: bytes, message: str) -> None:
    with pytest.raises(NotText, match=message) as refused:
        decoded(raw)
    assert "save it as UTF-8" in str(refused.value) and "codec" not in str(refused.value)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decoded(b"\xef\xbb\xbfa") == "a" and parsed("\ufeff1") == 1 and parsed_yaml("\ufeffa: b") == {"a": "b"}


PLAN = "name: p\nsteps:\n- id: one\n  worker: writer\n  instructions: Where?\n  input:\n    country: no\n    at: 12:30\n"


def test_every_file_is_read_by_the_same_rules(tmp_path: Path) -> None:
    for folder in ("plans", "roles"):
        (tmp_path / folder).mkdir()
    plan, role, tiers = tmp_path / "plans" / "p.yaml", tmp_path / "roles" / "r.yaml", tmp_path / "gateway.yaml"
    plan.write_bytes(b"\xef\xbb\xbf" + PLAN.encode())
    given = read_plan(str(plan))
    assert isinstance(given, dict) and given["steps"][0]["input"] == {"country": "no", "at": "12:30"}
    assert plans.load(plan.parent)["p"].steps[0].input == {"country": "no", "at": "12:30"}
    role.write_text("prompt: Yes.\nrouting:\n  keywords: [no, on]\n")
    routing = roles.load(role.parent)["r"].routing
    assert routing is not None and routing.keywords == ("no", "on")
    for file, read in (
        (plan, lambda: read_plan(str(plan))),
        (plan, lambda: plans.load(plan.parent)),
        (role, lambda: roles.load(role.parent)),
        (tiers, lambda: chain(Settings(gateway=tiers))),
    ):
        for raw, message in ((b"a: 1\na: 2", "the key 'a' is there twice"), ("a: b".encode("utf-16"), "UTF-16")):
            file.write_bytes(raw)
            with pytest.raises((Problem, ValueError)) as refused:
                read()
            assert message in str(refused.value) and file.name in str(refused.value)


def test_a_plan_in_json_is_read_as_json(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{\t"name": "p",\t"steps": [],\n "x": 1e5, "e": "\\ud83d\\ude00"}')
    assert read_plan(str(file)) == {"name": "p", "steps": [], "x": 1e5, "e": "😀"}
    file.write_text('{"name": "p", "name": "q"}')
    with pytest.raises(Problem, match="'name' is there twice"):
        read_plan(str(file))
