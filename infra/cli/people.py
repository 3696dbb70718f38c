"""`people …`: who may send and decide, and what proves that it is them.

A registration is a fact that is given to the record itself (`shared.runtime.giving`), by whoever may write to it.
"""

import getpass
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError

from contracts.approval import Person, PersonKey
from hansard.envelope import TENANT
from hansard.identity import PEOPLE, person_key, person_stream
from hansard.message import Message, Outcome
from hansard.private_keys import key_file, write_key
from hansard.reviews import BadKey, key_of, new_key, public_key
from infra.audit.people import Registration, registered, registrations, taken_by_others
from infra.cli import base, screen
from infra.cli.options import Json, Tenant
from infra.cli.problem import Problem
from infra.cli.running import load
from services.approval.facts import RegistrationGiven, RemovalGiven
from services.approval.policy import load as load_policy
from shared.settings import REVIEWER_TOPIC, Settings

app = typer.Typer(
    help="People who may send and decide, their roles, and what proves that it is them: a key, an identity of your OpenID "
    "provider, or a Kafka topic of their own. Whoever may write to the event store registers them; no topic does.",
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As reviews name them: alice@example.org. Capitals make no other person.")
]
Roles = Annotated[list[str] | None, typer.Option("--role", help="reviewer, senior, or one of your policy. Repeat it for more.")]
Identities = Annotated[
    list[str] | None, typer.Option("--identity", metavar='"ISSUER SUBJECT"', help="Of your OpenID provider's tokens.")
]
Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="approvals.reviews.NAME, to which this person's principal alone may write.")
]
By = Annotated[str, typer.Option(help="Who registers them, for the record.")]

Change = Callable[[Person | None], Person | None]


@app.command("add")
def add(
    name: Name,
    roles: Roles = None,
    key: Annotated[str, typer.Option(help="Their public key: base64, or a file with it as PEM.")] = "",
    new_key_file: Annotated[str, typer.Option("--new-key", metavar="FILE", help="Make a key, and write it there.")] = "",
    identities: Identities = None,
    topics: Topics = None,
    by: By = "",
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Register a person, or add to what is registered of one.

    If nothing is named that proves who they are, a new person gets a key in ~/.config/hansard/NAME.pem. Only its public half is
    registered; the file is for its person alone.

    Example: hansard people add alice@example.org --role reviewer --role senior
    """
    if key and new_key_file:
        raise Problem("Give --key, or have one made by --new-key.", code=2)
    _check(identities or (), topics or ())
    settings = _settings()
    known = base.run(_all(settings, tenant)).get(person_key(name))
    is_new = not known or known[-1].person is None
    makes = bool(new_key_file) or (is_new and not (key or identities or topics))
    file = Path(new_key_file).expanduser() if new_key_file else key_file(name)
    keys = (_given(key),) if key else (_made(file),) if makes else ()
    try:
        person = _registered(settings, tenant, name, by, _adding(name, roles or (), keys, identities or (), topics or ()))
    except BaseException:  # Problem, Ctrl-C: whether it is registered may be unknown, so the key stays
        if makes:
            screen.note(f"{file} has a new key: to register it, `hansard people add {name} --key {file}`.")
        raise
    _show([person], tenant, json_=json_)
    if makes:
        screen.note(f"{file} has the private key: it is for {person.name} alone, and is kept nowhere else.")
    known_roles = load_policy(settings.approvals).roles
    for role in dict.fromkeys(role for role in roles or () if role not in known_roles):
        near = get_close_matches(role, known_roles, 1)
        perhaps = f"perhaps {near[0]}? " if near else ""
        screen.note(f"The policy of approvals knows no role {role}: {perhaps}It has {', '.join(known_roles)}.")
    if not makes and not is_new and not (key or identities or topics):
        screen.note(f"{person.name} is registered already, so no key was made: --new-key FILE makes another.")
    for topic in set(person.topics) - set(settings.reviewer_topics):
        screen.note(f"{topic} is no topic yet: name it in HANSARD_REVIEWER_TOPICS of every process, then `hansard topics`.")


@app.command("list")
def list_people(tenant: Tenant = TENANT, json_: Json = False) -> None:
    """List everybody who is registered.

    Example: hansard people list
    """
    found = [one[-1].person for one in base.run(_all(base.running(postgres=True), tenant)).values()]
    people = [person for person in found if person is not None]
    if people or json_:
        _show(people, tenant, json_=json_)
    else:
        screen.out.print(f"Nobody is registered in the tenant {tenant}: `hansard people add NAME --role reviewer`.")


@app.command("show")
def show(name: Name, tenant: Tenant = TENANT, json_: Json = False) -> None:
    """Print every registration of a person, the oldest first: what held when.

    Example: hansard people show alice@example.org
    """
    mine = base.run(_all(base.running(postgres=True), tenant)).get(person_key(name))
    if not mine:
        raise Problem(f"{name} was never registered in the tenant {tenant}: `hansard people list`.")
    for one in mine:
        if json_:
            fields = one.person.model_dump(mode="json") if one.person else {"name": one.name, "removed": True}
            screen.put_json(fields | {"tenant": tenant, "at": one.at, "by": one.by})
            continue
        screen.out.print(f"{one.at:%Y-%m-%d %H:%M:%S} {'registered' if one.person else 'removed'} by {one.by}")
        if one.person:
            screen.out.print(screen.table(("", ""), _rows(one.person)))


@app.command("remove")
def remove(
    name: Name,
    roles: Roles = None,
    key: Annotated[str, typer.Option(metavar="ID", help="The id of a key: it is revoked.")] = "",
    identities: Identities = None,
    topics: Topics = None,
    by: By = "",
    tenant: Tenant = TENANT,
) -> None:
    """Remove a person, or only what is named of one. What they have decided stays; what they send from now on is refused.

    Example: hansard people remove alice@example.org --key 0123456789abcdef
    """
    settings, whole = _settings(), not (roles or key or identities or topics)
    change = _removed if whole else _taking(name, roles or (), key, identities or (), topics or ())
    _change(settings, tenant, name, by, change)
    if whole:
        screen.out.print(f"{name} is removed.")
        return
    left = base.run(_all(settings, tenant))[person_key(name)][-1].person
    _show([left] if left else [], tenant, json_=False)


def _settings() -> Settings:
    """Those of the record's owner, who may write any stream. Raises Problem."""
    settings = base.running(postgres=True)
    return settings.model_copy(update={"postgres": SecretStr(settings.owner)})


async def _all(settings: Settings, tenant: str) -> dict[str, list[Registration]]:
    async with base.record(settings) as store:
        return registrations(await store.load_workflow(tenant, PEOPLE))


# What changes


def _adding(
    name: str, roles: Sequence[str], keys: Sequence[PersonKey], identities: Sequence[str], topics: Sequence[str]
) -> Change:
    def change(known: Person | None) -> Person:
        before = known or Person(name=name)
        fields = {
            "name": before.name,
            "roles": _union(before.roles, roles),
            "keys": _union(before.keys, keys),
            "identities": _union(before.identities, identities),
            "topics": _union(before.topics, topics),
        }
        return Person.model_validate(fields)

    return change


def _taking(name: str, roles: Sequence[str], key: str, identities: Sequence[str], topics: Sequence[str]) -> Change:
    def change(known: Person | None) -> Person:
        if known is None:
            raise Problem(f"{name} is not registered.")
        held = {*known.roles, *(one.id for one in known.keys), *known.identities, *known.topics}
        if lacking := {*roles, *([key] if key else []), *identities, *topics} - held:
            raise Problem(f"{known.name} has no {min(lacking)}: `hansard people show {known.name}`.")
        return Person(
            name=known.name,
            roles=tuple(one for one in known.roles if one not in roles),
            keys=tuple(one for one in known.keys if one.id != key),
            identities=tuple(one for one in known.identities if one not in identities),
            topics=tuple(one for one in known.topics if one not in topics),
        )

    return change


def _removed(_: Person | None) -> None:
    return None


def _union(before: Iterable[object], more: Iterable[object]) -> tuple[object, ...]:
    return tuple(dict.fromkeys((*before, *more)))


def _registered(settings: Settings, tenant: str, name: str, by: str, change: Change) -> Person:
    """The person as registered now. Raises Problem."""
    person = _change(settings, tenant, name, by, change)
    assert person is not None
    return person


def _change(settings: Settings, tenant: str, name: str, by: str, change: Change) -> Person | None:
    """Gives the record what `change` makes of the person as registered now. Raises Problem."""
    from shared.runtime.giving import NotTaken, give

    by = by or f"{getpass.getuser()}@{socket.gethostname()}"

    async def changed() -> Person | None:
        result: Person | None = None

        def fact(messages: Sequence[Message]) -> Outcome | None:
            nonlocal result
            known = registered(messages)
            result = _valid(change, known)
            if result is not None:
                for proof, other in taken_by_others(result, everybody):
                    raise Problem(f"{other} has {proof} already: nothing may prove two people.")
                return None if result == known else RegistrationGiven(attempt=1, person=result, by=by)
            if known is None:
                raise Problem(f"{name} is not registered in the tenant {tenant}: `hansard people list`.")
            return RemovalGiven(attempt=1, name=known.name, by=by)

        async with base.record(settings) as store:
            everybody = registrations(await store.load_workflow(tenant, PEOPLE))
            approval = load("approval", settings)
            with base.as_owner():
                await give(store, approval, settings, person_stream(tenant, name), fact, f"registration/{uuid.uuid4()}")
        return result

    try:
        return base.run(changed())
    except NotTaken as refused:
        raise Problem(f"Nothing is registered: {refused}.") from None


def _valid(change: Change, known: Person | None) -> Person | None:
    try:
        return change(known)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        what = ".".join(map(str, first["loc"]))
        raise Problem(f"Nothing is registered: {what}: {first['msg']}.", code=2) from None


# Keys and topics


def _given(key: str) -> PersonKey:
    """The key that was typed, or that a file holds: its public half, whichever it is. Raises Problem."""
    try:
        path = Path(key).expanduser()
        if len(key) < 1024 and path.is_file():
            data = path.read_bytes()
            return PersonKey(**(key_of(data) if b"PRIVATE KEY" in data else public_key(data.decode("ascii", "replace"))))
        return PersonKey(**public_key(key))
    except (BadKey, OSError) as bad:
        raise Problem(f"--key: {bad}.", code=2) from None


def _made(file: Path) -> PersonKey:
    """A new key, whose private half is in the file. Raises Problem."""
    private, public = new_key()
    try:
        write_key(file, private)
    except BadKey as bad:
        raise Problem(f"{bad}. Name another file by --new-key FILE, or register that key by --key FILE.", code=2) from None
    return PersonKey(**public)


def _check(identities: Iterable[str], topics: Iterable[str]) -> None:
    """Raises Problem."""
    for identity in identities:
        issuer, _, subject = identity.partition(" ")
        if not issuer.startswith(("https://", "http://")) or not subject or " " in subject:
            raise Problem(f'--identity: {identity[:200]!r} is none of the form "https://ISSUER SUBJECT".', code=2)
    for topic in topics:
        if not REVIEWER_TOPIC.match(topic):
            raise Problem(f"--topic: {topic[:80]!r} is none of the form approvals.reviews.NAME.", code=2)


# What is shown


def _show(people: Sequence[Person], tenant: str, *, json_: bool) -> None:
    if json_:
        for person in people:
            screen.put_json(person.model_dump(mode="json") | {"tenant": tenant})
        return
    rows = [
        (one.name, ", ".join(one.roles), "\n".join(key.id for key in one.keys), "\n".join((*one.identities, *one.topics)))
        for one in people
    ]
    screen.out.print(screen.table(("name", "roles", "keys", "identities and topics"), rows))


def _rows(person: Person) -> list[tuple[str, str]]:
    return [
        ("roles", ", ".join(person.roles)),
        *(("key", f"{key.id} {key.algorithm} {key.public}") for key in person.keys),
        *(("identity", one) for one in person.identities),
        *(("topic", one) for one in person.topics),
    ]
