"""The address of Postgres: what libpq knows and providers put into the addresses that they hand out, in the words of asyncpg.

asyncpg sends every parameter that it does not know to the server as a setting, and the server refuses the connection. Here each
is understood, or left out, or refused with its name. What nobody knows goes to the server: it may be a setting of its own.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

TIMEOUT = 30.0  # seconds for a connection
SETTING = "HANSARD_POSTGRES"
FORM = "postgresql://user:password@host:5432/database"
YES, NO = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")

# How libpq keeps a connection alive, names itself, or protects it further than asyncpg can.
_OF_LIBPQ = """
    channel_binding client_encoding fallback_application_name gssdelegation keepalives keepalives_count keepalives_idle
    keepalives_interval load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_client_secret
    oauth_issuer oauth_scope scram_client_key scram_server_key sslcompression sslcrldir sslkeylogfile sslsni tcp_user_timeout
"""
# What Prisma, Supabase, Vercel, Rails and node-postgres read in an address.
_OF_CLIENTS = """
    connection_limit connectiontimeout encoding max_pool_size pool pool_mode pool_size pool_timeout reconnect schema
    single_use_connections socket_timeout sslaccept sslidentity supa uselibpqcompat workaround
"""
LEFT_OUT = frozenset((_OF_LIBPQ + _OF_CLIENTS).split())
# Demands of the user's that asyncpg cannot meet, and the values that demand nothing.
DEMANDS: Mapping[str, tuple[str, ...]] = {
    "gssencmode": ("disable", "prefer"),
    "replication": NO,
    "require_auth": ("",),
    "requirepeer": ("",),
    "sslcertmode": ("disable", "allow"),
}
# Parameters that say that there is a pooler which keeps no session.
POOLER: Mapping[str, tuple[str, ...]] = {"pgbouncer": YES, "prepared_statements": NO, "statement_cache_size": ("0",)}

_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_REFUSED = re.compile(r"(?:unrecognized configuration parameter|unsupported startup parameter(?: in options)?):? \"?([\w.]+)")


class BadAddress(ValueError):
    """It is no address, or one that cannot be kept to. One sentence, without the value, which holds a password."""


@dataclass(frozen=True)
class Address:
    """`dsn` as asyncpg understands it; `timeout` in seconds."""

    dsn: str
    pooler: bool
    timeout: float = TIMEOUT


def address(dsn: str, *, pooler: bool = False) -> Address:
    """The address that a DSN gives. Raises BadAddress."""
    try:
        parts = urlsplit(dsn)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, errors="strict"))
        _ = parts.port if "," not in parts.netloc else None
    except ValueError:
        raise BadAddress(
            f"it cannot be read as {FORM}: letters such as @, /, [ and # of a password are written as %40 …"
        ) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise BadAddress(f"it must be of the form {FORM}")
    for name, harmless in DEMANDS.items():
        if query.pop(name, harmless[0]).lower() not in harmless:
            raise BadAddress(f"take out the parameter `{name}`, which Hansard cannot keep to")
    poolers = [query.pop(name, "-").lower() in values for name, values in POOLER.items()]
    timeout = _seconds(query.pop("connect_timeout", ""))
    _protect(query)
    if (there := query.pop("hostaddr", "")) and not (query.get("host") or parts.netloc.rpartition("@")[2]):
        query["host"] = there
    kept = {name: value for name, value in query.items() if value and name.lower() not in LEFT_OUT}
    return Address(_written(parts, kept), pooler or any(poolers), timeout)


def is_here(dsn: str) -> bool:
    """Whether every server that this address names is on this machine: a loopback address, or a socket in its file system."""
    parts = urlsplit(address(dsn).dsn)
    hosts = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "")
    return all(_is_here(host.rpartition(":")[0] if host.count(":") == 1 or "]:" in host else host) for host in hosts.split(","))


def _is_here(host: str) -> bool:
    if host.startswith(("/", "@")) or host in ("", "localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_verified(dsn: str) -> bool:
    """Whether the server must show a certificate that is valid for its name."""
    return dict(parse_qsl(urlsplit(address(dsn).dsn).query)).get("sslmode") == "verify-full"


def _written(parts: SplitResult, query: Mapping[str, str]) -> str:
    return parts._replace(query=urlencode(query, quote_via=quote), fragment="").geturl()


def tls_refusal(error: BaseException) -> str:
    """What to do about a connection whose encryption one side refused; "" for any other error."""
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return f"the server's certificate is for another name than {SETTING} gives: write the name that it is for"
        return (
            f"the server's certificate is not to be trusted ({error.verify_message}): name the file of the authority which signed"
            f" it as `sslrootcert` in {SETTING}"
        )
    if "rejected SSL upgrade" in text:
        return f"the server has no TLS, and {SETTING} asks for it: turn it on there (`ssl = on`)"
    if "no encryption" in text or "encrypted connections only" in text:
        return f"the server takes encrypted connections only: put sslmode=verify-full&sslrootcert=FILE into {SETTING}"
    return ""


def _seconds(given: str) -> float:
    """0, a negative number or nothing is no limit of the user's own."""
    try:
        return max(float(given or 0), 2.0) if float(given or 0) > 0 else TIMEOUT
    except ValueError:
        raise BadAddress("`connect_timeout` is a number of seconds") from None


def _protect(query: dict[str, str]) -> None:
    """How the connection is encrypted, as asyncpg says it."""
    asked = query.pop("ssl", "") or {"1": "require"}.get(query.pop("requiressl", ""), "")
    mode = query.get("sslmode") or ("require" if asked.lower() in YES else "disable" if asked.lower() in NO[:-1] else asked)
    if mode:
        query["sslmode"] = "require" if mode == "no-verify" else mode
    if query.get("sslrootcert") == "system":
        file = ssl.get_default_verify_paths().cafile
        if file is None:
            raise BadAddress("`sslrootcert=system`: this machine has no file of trusted certificates; name one")
        query |= {"sslrootcert": file, "sslmode": "verify-full"}


def refusal(error: BaseException, ours: Callable[[str], bool]) -> str:
    """What to do about a parameter that a server or pooler refused; "" for any other error. `ours`: whether Hansard sets it."""
    found = _REFUSED.search(str(error))
    if found is None:
        return ""
    if ours(found[1]):
        return "it is behind a pooler that keeps no session: set HANSARD_POSTGRES_POOLER=true"
    return f"take the parameter `{found[1]}` out of {SETTING}: it is not taken there"
