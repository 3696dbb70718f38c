"""Words that this project gave up do not come back: in names, file names, metrics, SQL and AsyncAPI; some not in prose either."""

import ast
import io
import json
import keyword
import re
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SCOPE = ("contracts", "shared", "services", "infra", "tests")  # what is searched

# Never as a name or a part of one, in any form of the word.
RETIRED = {
    *("hear", "hears", "heard", "unheard", "hearing", "hearings", "hearer", "hearers"),  # receive, process; inbox entry; consumer
    *("say", "says", "said", "saying", "sayings", "utter", "utterance"),  # store, publish; message
    *("speak", "speaks", "spoke", "spoken", "speaker", "speakers"),  # publish; producer
    *("turn", "turns", "floor", "floors"),  # append, processor
    *("ear", "ears", "voice", "voices", "feed", "feeds"),  # parser, producer, consumer
    *("hands", "desk", "desks", "whisper", "whispers", "whisperer"),  # performer and its context, ephemeral
    *("waker", "wakers", "woken", "waking", "wakings"),  # wake-up
    *("heads", "suspect", "suspects", "house", "houses", "story", "stories"),  # streams, crash guard, deployment, scenario
}
# Never in a comment, a docstring or another text either: these words have no other meaning here.
RETIRED_IN_PROSE = {"hears", "heard", "unheard", "hearing", "hearings", "waker", "whisper", "whisperer", "utterance"}
# Never a Python name; on the wire CloudEvents allows no underscore in them.
RETIRED_NAMES = {"correlationid", "causationid"}


class Allowed(NamedTuple):
    place: str
    word: str
    why: str


ALLOWED = (
    Allowed("tests/unit/test_words.py", "*", "it lists the words"),
    Allowed("services/gateway/openai_wire/answer.py", "turn", "why a model stopped, in the words of Anthropic's endpoints"),
    Allowed("infra/decisions/0013-plain-words.md", "*", "it lists the old words beside the new"),
)


def words_of(name: str) -> list[str]:
    """`wokenAt`, `woken_at` and `woken-at` have the same words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def identifiers(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            yield token.string


def names_in_python(source: str) -> Iterator[str]:
    """Identifiers, keys and kinds (strings of one word), and all texts of a metric."""
    yield from identifiers(source)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z][a-z0-9]*([_.-][a-z0-9]+)+|[a-z]+_[a-z_]+", text):
                yield text
            case ast.Dict(keys=keys):
                yield from (key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
            case ast.Call(func=ast.Name(id="Counter" | "Gauge" | "Histogram"), args=[*args]):
                texts = (part for arg in args for part in ast.walk(arg) if isinstance(part, ast.Constant))
                yield from (text.value for text in texts if isinstance(text.value, str))


def names_in_sql(source: str) -> Iterator[str]:
    """Tables, columns, functions and settings: all but comments and quoted texts."""
    yield from re.findall(r"\w+", re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", " ", source, flags=re.DOTALL))


def names_in_json(source: str) -> Iterator[str]:
    """Every key, and every value that is one word: addresses, kinds, references."""

    def walk(value: object) -> Iterator[str]:
        match value:
            case dict():
                for key, inner in value.items():
                    yield str(key)
                    yield from walk(inner)
            case list():
                for inner in value:
                    yield from walk(inner)
            case str() if not re.search(r"\s", value):
                yield value
            case _:
                pass

    yield from walk(json.loads(source))


NAMES = {".py": names_in_python, ".sql": names_in_sql, ".json": names_in_json}


def retired(path: str, source: str) -> list[str]:
    """The retired words in a file, a sentence each."""
    suffix = Path(path).suffix
    names = {*NAMES[suffix](source), *Path(path).parts} if suffix in NAMES else {*Path(path).parts}
    found = {
        (word, f"the name {name}") for name in names for word in words_of(name) if word in RETIRED and not _is_prose(word, name)
    }
    found |= {(word, "the text") for word in words_of(source) if word in RETIRED_IN_PROSE}
    found |= {(name, "a Python name") for name in (identifiers(source) if suffix == ".py" else ()) if name in RETIRED_NAMES}
    return [f"{path}: {word} in {where}" for word, where in sorted(found) if not any(_allows(one, path, word) for one in ALLOWED)]


def _is_prose(word: str, name: str) -> bool:
    """In a sentence these verbs are plain English, and a test's name is a sentence."""
    return word in ("say", "says", "speaks", "hands", "turns", "woken") and name.startswith("test_")


def _allows(allowed: Allowed, path: str, word: str) -> bool:
    return fnmatch(path, allowed.place) and allowed.word in (word, "*")


def searched() -> list[str]:
    files = (file for place in SCOPE for file in [ROOT / place, *(ROOT / place).rglob("*")] if file.is_file())
    ours = (".py", ".sql", ".json", ".yaml", ".md")
    return sorted({str(file.relative_to(ROOT)) for file in files if file.suffix in ours and "node_modules" not in file.parts})


@pytest.mark.parametrize("path", searched())
def test_no_retired_word_has_come_back(path: str) -> None:
    assert retired(path, (ROOT / path).read_text("utf-8")) == []


def test_every_place_in_the_scope_exists() -> None:
    assert [place for place in SCOPE if not (ROOT / place).exists()] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/x/decider.py", "def hear(message): ..."),
        ("services/x/decider.py", "class WhispererOfTokens: ..."),
        ("services/x/decider.py", "unheardCount = 1"),
        ("services/x/decider.py", "state.floor_of"),
        ("tests/spec/test_x.py", "def says(decider): ..."),
        ("services/x/decider.py", "def test_a_message_heard_again(): ..."),
        ("services/x/decider.py", "correlationid = 1"),
        ("services/x/decider.py", "ready = {'feed': True}"),
        ("services/x/decider.py", "kind = 'hansard.runtime.woken.v1'"),
        ("services/x/decider.py", '"""It hears tasks."""'),
        ("services/x/decider.py", "# whoever heard it"),
        ("services/x/ear.py", ""),
        ("shared/telemetry/metrics.py", "n = Counter('hansard_hearings_total', 'x')"),
        ("shared/telemetry/metrics.py", "n = Gauge('n', 'Words that no speaker said.', ['x'])"),
        ("shared/telemetry/metrics.py", "n = Gauge('n', 'x', ['speaker'])"),
        ("infra/migrations/1.sql", "create table heads (id int)"),
        ("infra/migrations/1.sql", "select said_at from messages -- ok"),
        ("contracts/asyncapi.json", '{"channels": {"planner.commands": {"x-speakers": ["router"]}}}'),
        ("contracts/asyncapi.json", '{"name": "hansard.runtime.hearing.v1"}'),
    ],
)
def test_a_retired_word_is_found(path: str, source: str) -> None:
    assert retired(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/x/decider.py", "returned, feedback, header, years, overheads = 1, 2, 3, 4, 5"),
        ("services/x/decider.py", "raise Problem('The log says why a stream is woken in its turn.')"),
        ("tests/spec/test_x.py", "def test_the_reason_says_why_the_router_hands_over(): ..."),
        ("services/x/decider.py", "attributes = {'correlationid': workflow}"),
        ("infra/migrations/1.sql", "-- what a speaker said\ninsert into messages (id) values ('turn')"),
        ("contracts/asyncapi.json", '{"description": "A voice says so.", "correlationid": {"type": "string"}}'),
    ],
)
def test_what_is_not_a_retired_word_is_allowed(path: str, source: str) -> None:
    assert retired(path, source) == []
