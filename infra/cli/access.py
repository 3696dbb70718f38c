"""Access to a Kafka that has access rules: the login of whoever asks, and the rules and passwords of the catalogue."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from infra.cli import screen
from infra.cli.finding import Finding, one_line
from infra.cli.problem import Problem
from infra.servers import principals
from shared.kafka.connection import CONSOLE, OUTSIDE, outside_groups, principal_name
from shared.kafka.errors import KafkaError
from shared.masking import mask
from shared.settings import Settings

if TYPE_CHECKING:
    from infra.access_rules import Differences

SUGGESTION = "an administrator runs `hansard topics --acls | sh`"


def acting_as(settings: Settings, *services: str) -> Settings:
    """The same settings with the login of a process of these services; of the people who operate it, without a name.

    Only where Kafka was started in this home with access rules: elsewhere the login is the environment's.
    """
    if not principals.is_of(settings.home, settings.kafka_ca):
        return settings
    return with_login(settings, principals.login(settings.home, principal_name(settings, *(services or (CONSOLE,)))))


def as_administrator(settings: Settings) -> Settings:
    """The same with the login that may do everything."""
    if not principals.is_of(settings.home, settings.kafka_ca):
        return settings
    return with_login(settings, principals.login(settings.home, principals.ADMINISTRATOR))


def with_login(settings: Settings, login: Mapping[str, str]) -> Settings:
    """The same settings with these of security, as `principals.login` and `Addresses` have them."""
    mask(login["kafka_password"])
    forms: dict[str, Callable[[str], Any]] = {"kafka_password": SecretStr, "kafka_ca": Path}
    return settings.model_copy(update={name: forms.get(name, str)(value) for name, value in login.items()})


def variables(settings: Settings, *services: str) -> dict[str, str]:
    """The login of these services as environment variables; none where it is not for us to give."""
    if not principals.is_of(settings.home, settings.kafka_ca):
        return {}
    login = principals.login(settings.home, principal_name(settings, *(services or (CONSOLE,))))
    return {f"HANSARD_{name.upper()}": value for name, value in login.items()}


def hints(settings: Settings) -> list[tuple[str, str]]:
    """How a Kafka client of anyone reaches the Kafka of this home."""
    if not principals.is_of(settings.home, settings.kafka_ca):
        return []
    name, folder = principal_name(settings, OUTSIDE), settings.home
    return [
        (
            f"USER={name} PASSWORD=$(cat {folder}/principals/{name})",
            f"it may publish at the doors and read results (SCRAM-SHA-512), in groups that begin with {outside_groups(settings)}",
        ),
        (f"CA={settings.kafka_ca}", "of the authority that TLS is to trust"),
    ]


async def provide(settings: Settings, report: Callable[[str], None]) -> None:
    """Adds the rules that the brokers lack; on this machine, sets the passwords too. Nothing where there are no rules.

    Raises Problem where Kafka of this machine refuses; elsewhere a refusal is reported: the rules may be somebody else's.
    """
    from infra.access_rules import differences
    from infra.access_rules import principals as all_principals
    from shared.kafka.access import AccessRefused, add_rules, found_rules, set_passwords

    if settings.kafka_security == "PLAINTEXT":
        return
    ours = principals.is_of(settings.home, settings.kafka_ca)
    settings = as_administrator(settings)
    try:
        found = await found_rules(settings)
        if found is None:
            return
        missing = differences(settings, found).missing
        await add_rules(settings, missing)
        if ours:
            await set_passwords(settings, {name: principals.password(settings.home, name) for name in all_principals(settings)})
    except AccessRefused as refused:
        if ours:
            raise Problem(f"Kafka refuses ({refused}).") from refused
        report(f"Kafka: {refused}; {SUGGESTION}")
        return
    if missing:
        report(f"Kafka: added {len(missing)} access rules")
    await _compare_epoch(acting_as(settings), report)


async def _compare_epoch(settings: Settings, report: Callable[[str], None]) -> None:
    """After a restore no service may read all that Kafka has: so it is compared here."""
    from infra.cli.tails import compared
    from shared.runtime.tail_watch import restored

    if (unknown := await compared(settings)).count:
        report(f"services wait: {restored(unknown)}")


async def settle(settings: Settings, passwords: Path | None, *, dry_run: bool, remove: bool) -> bool:
    """Brings the cluster's rules to those of the catalogue, and prints what differed. Whether they agree now, as far as one may
    ask. Surplus rules are removed only where that is asked for."""
    from infra.access_rules import differences
    from shared.kafka.access import AccessRefused, add_rules, found_rules, remove_rules, set_passwords

    try:
        if (found := await found_rules(settings)) is None:
            screen.note("The brokers have no access rules: whoever reaches them may read and publish anything.")
            return passwords is None
        there = differences(settings, found)
        _show(there, dry_run=dry_run, remove=remove)
        if not dry_run:
            await add_rules(settings, there.missing)
            await remove_rules(settings, there.surplus if remove else ())
            if ours := _passwords(settings, passwords):
                await set_passwords(settings, ours)
                screen.out.print(f"set the passwords of {len(ours)} principals")
    except AccessRefused as refused:
        screen.out.print(f"cannot: {refused}; {SUGGESTION}")
        return settings.kafka_security == "PLAINTEXT" and passwords is None
    return True


def _passwords(settings: Settings, folder: Path | None) -> dict[str, str]:
    """The passwords to set, by principal. Raises Problem where the folder has none at all."""
    from infra.access_rules import principals as all_principals

    names = all_principals(settings)
    if principals.is_of(settings.home, settings.kafka_ca):
        return {name: principals.password(settings.home, name) for name in names}
    if folder is None:
        return {}
    found = {name: (folder / name).read_text("utf-8").strip() for name in names if (folder / name).is_file()}
    if not found:
        raise Problem(f"{folder} must hold a file with the password of each principal: {', '.join(names)}.", code=2)
    for name in (name for name in names if name not in found):
        screen.note(f"{folder} has no password for {name}")
    return found


def _show(there: "Differences", *, dry_run: bool, remove: bool) -> None:
    for rule in there.missing if dry_run else ():
        screen.out.print(f"would add: {rule}")
    if there.missing and not dry_run:
        screen.out.print(f"added {len(there.missing)} access rules (`hansard topics --acls` lists them)")
    for rule in there.surplus:
        verb = ("would remove" if dry_run else "removed") if remove else "in the catalogue no longer"
        screen.out.print(f"{verb}: {rule}")
    if there.surplus and not remove:
        screen.note("`hansard topics --remove-rules` removes these.")
    if not there.missing and not there.surplus:
        screen.out.print("The access rules are those of the catalogue.")
    for name in there.fused:
        screen.note(f"{name} is several services in one process: it has the union of their rights.")


async def admit(settings: Settings, *services: str) -> Settings:
    """The settings of a process of these services, with its login; on this machine it gets one, and its rules, where it has
    none yet: several services in one process, or one that was not there when everything was started."""
    from infra.access_rules import of_services
    from shared.kafka.access import add_rules, set_passwords

    name = principal_name(settings, *services)
    if not principals.is_of(settings.home, settings.kafka_ca) or settings.kafka_username == name:
        return settings
    administrator = as_administrator(settings)
    await add_rules(administrator, of_services(settings, services))
    await set_passwords(administrator, {name: principals.password(settings.home, name)})
    return acting_as(settings, *services)


async def check_access(settings: Settings) -> list[Finding]:
    """Whether the brokers have the access rules of the catalogue, and which processes have those of several services."""
    from infra.access_rules import differences
    from shared.kafka.access import AccessRefused, found_rules

    if not settings.kafka:
        return []
    try:
        found = await found_rules(settings) if settings.kafka_security != "PLAINTEXT" else None
    except AccessRefused as refused:
        return [Finding("access rules", f"not known: {refused}")]
    except (KafkaError, OSError) as failed:
        return [Finding("access rules", f"could not be looked at: {one_line(failed)}", "hansard topics")]
    if found is None:
        return [Finding("access rules", "none: whoever reaches Kafka may read and publish anything (`hansard up --secure`)")]
    there = differences(settings, found)
    fix = " and ".join(
        text for text, lacks in (("hansard topics", there.missing), ("hansard topics --remove-rules", there.surplus)) if lacks
    )
    some = "; ".join(map(str, (*there.missing, *there.surplus)[:3]))
    state = f"{len(there.missing)} are missing, {len(there.surplus)} are in the catalogue no longer: {some}"
    who = f"as the catalogue wants them; this is {settings.kafka_username}"
    together = [
        Finding("fused process", f"{name} has the union of its services' rights: no rule keeps them apart from each other")
        for name in there.fused
    ]
    return [Finding("access rules", state if fix else who, fix), *together]
