"""Addresses of Postgres as libpq and providers write them."""

import pytest
from asyncpg.exceptions import ProtocolViolationError, UndefinedObjectError

from infra.cli import base
from infra.cli.problem import Problem
from shared.eventstore.postgres.session import SETTINGS, connection_options, refused_parameter
from shared.postgres_address import BadAddress, address

HERE = "postgresql://u:p%40ss@h:5433/db"
UNDERSTOOD = {  # parameters as they are given, and what asyncpg is told
    "": "",
    "sslmode=require&channel_binding=require": "sslmode=require",  # Neon
    "pgbouncer=true&connection_limit=1&pool_timeout=0": "",  # Supabase, Prisma
    "sslmode=require&supa=base-pooler.x&workaround=supabase-pooler.vercel": "sslmode=require",  # Vercel
    "keepalives=1&keepalives_idle=30&tcp_user_timeout=9&gssencmode=disable&sslsni=1&client_encoding=utf8": "",
    "application_name=mine&options=endpoint%3Dep-1&search_path=s": "application_name=mine&options=endpoint%3Dep-1&search_path=s",
    "ssl=true": "sslmode=require",
    "ssl=require&sslmode=verify-full": "sslmode=verify-full",
    "ssl=0": "sslmode=disable",
    "requiressl=1": "sslmode=require",
    "sslmode=no-verify": "sslmode=require",  # node-postgres
    "schema=public&uselibpqcompat=true": "",
    "sslmode=": "",
    "&": "",
    "require_auth=&replication=false&sslcertmode=allow": "",
}


@pytest.mark.parametrize(("given", "told"), UNDERSTOOD.items())
def test_what_libpq_and_providers_write_is_understood_or_left_out(given: str, told: str) -> None:
    assert address(f"{HERE}?{given}").dsn == (f"{HERE}?{told}" if told else HERE)


@pytest.mark.parametrize("parameter", ["pgbouncer=true", "pgbouncer=1", "prepared_statements=false", "statement_cache_size=0"])
def test_an_address_may_say_that_there_is_a_pooler(parameter: str) -> None:
    options = connection_options(f"{HERE}?{parameter}", pooler=False)
    assert options["server_settings"] == {} and options["statement_cache_size"] == 0
    assert connection_options(f"{HERE}?pgbouncer=false", pooler=False)["server_settings"] == SETTINGS
    assert connection_options(HERE, pooler=True)["server_settings"] == {}


@pytest.mark.parametrize(
    ("given", "seconds"), [("", 30), ("connect_timeout=10", 10), ("connect_timeout=0", 30), ("connect_timeout=1", 2)]
)
def test_the_time_for_a_connection_is_libpqs(given: str, seconds: float) -> None:
    assert connection_options(f"{HERE}?{given}", pooler=False)["timeout"] == seconds


def test_the_system_s_certificates_are_trusted_if_asked_for() -> None:
    assert "sslmode=verify-full" in address(f"{HERE}?sslrootcert=system").dsn and "=system" not in address(HERE).dsn


def test_hostaddr_is_the_host_where_there_is_no_other() -> None:
    assert address("postgresql:///db?hostaddr=10.0.0.1").dsn == "postgresql:/db?host=10.0.0.1"
    assert address(f"{HERE}?hostaddr=10.0.0.1").dsn == HERE


REFUSED = {
    f"{HERE}?require_auth=scram-sha-256": "take out the parameter `require_auth`",
    f"{HERE}?gssencmode=require": "take out the parameter `gssencmode`",
    f"{HERE}?requirepeer=postgres": "take out the parameter `requirepeer`",
    f"{HERE}?connect_timeout=soon": "`connect_timeout` is a number of seconds",
    "jdbc:postgresql://u:p%40ss@h/db": "must be of the form postgresql://",
    "host=h user=u password=p%40ss": "must be of the form postgresql://",
    "postgresql://u:p%40ss[@h/db": "cannot be read",
    "postgresql://u:p%40ss@h:port/db": "cannot be read",
}


@pytest.mark.parametrize(("dsn", "message"), REFUSED.items())
def test_what_cannot_be_kept_to_is_one_sentence_without_the_password(
    dsn: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadAddress, match=message) as refused:
        address(dsn)
    assert "p%40ss" not in str(refused.value)
    monkeypatch.setenv("HANSARD_POSTGRES", dsn)
    with pytest.raises(Problem, match="HANSARD_POSTGRES is not valid") as problem:
        base.local()
    assert problem.value.code == 2 and "p%40ss" not in str(problem.value)


def test_a_parameter_that_a_server_does_not_know_is_named() -> None:
    for error in (
        UndefinedObjectError('unrecognized configuration parameter "foo"'),
        ProtocolViolationError("unsupported startup parameter: foo"),
        ProtocolViolationError("unsupported startup parameter in options: foo"),
    ):
        assert "`foo` out of HANSARD_POSTGRES" in refused_parameter(error)
    ours = ProtocolViolationError("unsupported startup parameter: default_transaction_isolation")
    assert "HANSARD_POSTGRES_POOLER=true" in refused_parameter(ours)
    assert refused_parameter(ConnectionRefusedError("no")) == ""
