"""Long texts and lists by reference: CloudEvents' claim check (`dataref`), field by field. Pure, but for the reader it is given.

A field `X` that may grow long has a field `X_ref` beside it. While the message is small, `X` is whole and `X_ref` absent.
Otherwise `X` is an excerpt (the beginning of a text, the first items of a list, null for other data) and `X_ref` names the
whole in the content store. An object `X` with texts as members has `X_refs`, by the members' names. A text that is made of
several has `X_inserts`: the places of those that are excerpts. A decider passes all of it on and never needs the whole.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter

from hansard.message import Message, Value
from hansard.values import ContentReference, Insert

V = TypeVar("V", bound=Value)
Read = Callable[[ContentReference], Awaitable[bytes]]

TEXT, JSON = "text/plain", "application/json"
SHORT = 1024  # bytes; what is shorter stays as it is
REFERENCE = 200  # bytes that a reference adds to a message, at most


class _Slot(NamedTuple):
    """A value that may travel by reference. `path` leads to its owner; `member` is a name within an object."""

    path: tuple[str | int, ...]
    owner: Value
    field: str
    member: str | None
    value: Any
    size: int  # bytes of its JSON

    @property
    def form(self) -> str:
        return "text" if isinstance(self.value, str) else "list" if isinstance(self.value, tuple) else "data"

    @property
    def whole(self) -> ContentReference | None:
        """The reference that it has already."""
        if self.member is None:
            return getattr(self.owner, f"{self.field}_ref")  # type: ignore[no-any-return]
        return getattr(self.owner, f"{self.field}_refs").get(self.member)  # type: ignore[no-any-return]


class Excerpt(NamedTuple):
    """A part of a text, in whose place whoever needs it puts up to `limit` characters of the whole."""

    text: str
    whole: ContentReference
    limit: int | None = None


def joined(parts: Iterable[tuple[str | Excerpt, ...]]) -> tuple[str, tuple[Insert, ...]]:
    """The parts with an empty line between them, and the places of the excerpts."""
    written: list[str] = []
    inserts: list[Insert] = []
    at = 0
    for n, part in enumerate(parts):
        for segment in ("\n\n" * (n > 0), *part):
            text = segment.text if isinstance(segment, Excerpt) else segment
            if isinstance(segment, Excerpt):
                inserts.append(Insert(start=at, end=at + len(text), whole=segment.whole, limit=segment.limit))
            written.append(text)
            at += len(text)
    return "".join(written), tuple(inserts)


def reference_to(data: bytes, media_type: str = TEXT, name: str = "") -> ContentReference:
    return ContentReference(sha256=hashlib.sha256(data).hexdigest(), size=len(data), media_type=media_type, name=name)


def is_whole(reference: ContentReference, data: bytes) -> bool:
    """Whether these are the bytes that the reference names."""
    return len(data) == reference.size and hashlib.sha256(data).hexdigest() == reference.sha256


def by_reference(message: V, limit: int) -> tuple[V, dict[ContentReference, bytes]]:
    """The message with excerpts and references, so that its JSON has at most `limit` bytes if that is possible; and the wholes.

    Large data goes first, then texts are shortened, all to one length, and lists last. The same message and limit give the same
    bytes. A field of `stored_whole` stays whole. Raises ValueError for a string that UTF-8 cannot encode.
    """
    wholes: dict[ContentReference, bytes] = {}
    size = _size(message)
    for changed, together in (("data", ("data", "text")), ("text", ("text",)), ("list", ("list",))):
        if size <= limit:
            break
        slots = [slot for slot in _slots(message, changed == "list") if slot.form in together and slot.size > SHORT]
        room = limit - size + sum(slot.size for slot in slots) - REFERENCE * len(slots)
        share = max(share_of((slot.size for slot in slots), room), SHORT // 2)
        for slot in slots:
            if slot.size > share and slot.form == changed:
                excerpt = _excerpt(slot.value, share)
                reference = slot.whole
                if reference is None:
                    whole, media_type = _bytes(slot.value)
                    reference = reference_to(whole, media_type)
                    wholes[reference] = whole
                message = _replaced(message, slot, excerpt, reference)
        size = _size(message)
    return message, wholes


def declared_wholes(message: Message) -> dict[ContentReference, bytes]:
    """The contents of the fields that its kind names in `stored_whole`. Raises ValueError where a reference is missing, or is not
    of the field's bytes."""
    wholes: dict[ContentReference, bytes] = {}
    for field in type(message).stored_whole:
        data, reference = getattr(message, field).encode(), getattr(message, f"{field}_ref")
        if reference is None or not is_whole(reference, data):
            named = "names nothing" if reference is None else f"names {reference.sha256}"
            actual = hashlib.sha256(data).hexdigest()
            raise ValueError(f"{message.kind}: `{field}_ref` {named}, and the {len(data)} bytes of `{field}` are {actual}")
        wholes[reference] = data
    return wholes


def references(value: object) -> Iterator[ContentReference]:
    """Every reference in a message, however deep."""
    if isinstance(value, ContentReference):
        yield value
    elif isinstance(value, Value):
        for name in type(value).model_fields:
            yield from references(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for item in value.values():
            if isinstance(item, Value):
                yield from references(item)


async def whole(value: V, read: Read) -> V:
    """The message with every excerpt replaced by the whole, and no references left. Raises what `read` raises; ValueError where
    the bytes are not of the field's type."""
    changes: dict[str, Any] = {}
    for name in type(value).model_fields:
        given = getattr(value, name)
        if isinstance(given, ContentReference) and name.endswith("_ref"):
            field = name.removesuffix("_ref")
            changes |= {field: _value(type(value), field, await read(given)), name: None}
        elif name.endswith("_refs") and given:
            field = name.removesuffix("_refs")
            texts = {member: (await read(one)).decode() for member, one in given.items()}
            changes |= {field: getattr(value, field) | texts, name: {}}
    for name in type(value).model_fields:
        if name.endswith("_inserts") and (inserts := getattr(value, name)):
            field = name.removesuffix("_inserts")
            changes |= {field: await _with_inserts(changes.get(field, getattr(value, field)), inserts, read), name: ()}
    for name in type(value).model_fields:
        given = changes.get(name, getattr(value, name))
        if isinstance(given, Value):
            changes[name] = await whole(given, read)
        elif isinstance(given, tuple) and any(isinstance(item, Value) for item in given):
            changes[name] = tuple([await whole(item, read) if isinstance(item, Value) else item for item in given])
    return value.model_copy(update=changes) if changes else value


async def _with_inserts(text: str, inserts: Iterable[Insert], read: Read) -> str:
    parts, end = [], 0
    for insert in inserts:
        inserted = (await read(insert.whole)).decode()
        limit = len(inserted) if insert.limit is None else insert.limit
        parts += [text[end : insert.start], shortened(inserted, limit)]
        end = insert.end
    return "".join(parts) + text[end:]


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning with a mark that says how many characters are missing: `limit` characters together."""
    if len(text) <= limit:
        return text
    kept = max(0, limit - len(_mark(len(text))))
    return f"{text[:kept]}{_mark(len(text) - kept)}"


def share_of(sizes: Iterable[int], total: int) -> int:
    """The size to which each of these must be shortened so that all fit into `total`."""
    rising = sorted(sizes)
    for place, size in enumerate(rising):
        share = total // (len(rising) - place)
        if size > share:
            return share
        total -= size
    return rising[-1] if rising else 0


def _mark(missing: int) -> str:
    return f" … [{missing:,} more characters left out]"


@cache
def _names(kind: type[Value]) -> tuple[tuple[str, bool], ...]:
    """The fields that may travel by reference, and whether they do so member by member."""
    fields = kind.model_fields
    pairs = ((name, f"{name}_refs" in fields) for name in fields)
    return tuple((name, by_member) for name, by_member in pairs if by_member or f"{name}_ref" in fields)


def _slots(value: Value, of_lists: bool, path: tuple[str | int, ...] = ()) -> Iterator[_Slot]:
    """The outermost lists, or everything else at any depth."""
    kept = value.stored_whole if isinstance(value, Message) else ()
    for name, by_member in _names(type(value)):
        if name in kept:
            continue
        given = getattr(value, name)
        if by_member and isinstance(given, dict) and not of_lists:
            for member, text in given.items():
                if isinstance(text, str):
                    yield _Slot(path, value, name, member, text, _size(text))
        elif not by_member and given and isinstance(given, tuple) == of_lists:
            yield _Slot(path, value, name, None, given, _size(given))
    listed = {name for name, _ in _names(type(value))} if of_lists else set()
    for name in type(value).model_fields:
        given = getattr(value, name)
        if isinstance(given, Value):
            yield from _slots(given, of_lists, (*path, name))
        elif isinstance(given, tuple) and name not in listed:
            for place, item in enumerate(given):
                if isinstance(item, Value):
                    yield from _slots(item, of_lists, (*path, name, place))


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def _size(value: object) -> int:
    return len(_ANY.dump_json(value))


def _bytes(value: object) -> tuple[bytes, str]:
    return (value.encode(), TEXT) if isinstance(value, str) else (_ANY.dump_json(value), JSON)


def _excerpt(value: object, share: int) -> Any:
    """What fits into `share` bytes of JSON."""
    if isinstance(value, str):
        limit = share
        while _size(text := shortened(value, limit)) > share and limit > 0:
            limit = min(limit - 1, limit * share // _size(text))
        return text
    if isinstance(value, tuple):
        kept, left = 0, share
        while kept < len(value) and (left := left - _size(value[kept]) - 1) >= 0:
            kept += 1
        return value[:kept]
    return None


def _replaced(value: V, slot: _Slot, excerpt: Any, reference: ContentReference) -> V:
    return _changed(value, slot.path, lambda owner: _with(owner, slot, excerpt, reference))  # type: ignore[no-any-return]


def _with(owner: Value, slot: _Slot, excerpt: Any, reference: ContentReference) -> Value:
    if slot.member is None:
        return owner.model_copy(update={slot.field: excerpt, f"{slot.field}_ref": reference})
    texts: Mapping[str, Any] = getattr(owner, slot.field)
    known: Mapping[str, ContentReference] = getattr(owner, f"{slot.field}_refs")
    changes = {slot.field: {**texts, slot.member: excerpt}, f"{slot.field}_refs": {**known, slot.member: reference}}
    return owner.model_copy(update=changes)


def _changed(value: Any, path: tuple[str | int, ...], change: Callable[[Any], Any]) -> Any:
    """The value with what stands at the path changed."""
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return (*value[:step], _changed(value[step], rest, change), *value[step + 1 :])
    return value.model_copy(update={step: _changed(getattr(value, step), rest, change)})


def _value(kind: type[Value], field: str, data: bytes) -> Any:
    annotation: Any = kind.model_fields[field].annotation
    return data.decode() if annotation in (str, str | None) else _adapter(annotation).validate_json(data)


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)
