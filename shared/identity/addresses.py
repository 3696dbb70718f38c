"""Addresses that we may ask about identities."""

from urllib.parse import urlsplit

HERE = ("127.0.0.1", "localhost", "::1")


class BadAddress(ValueError):
    """An address that is not https, or not of this machine."""


def checked_address(url: str) -> str:
    """The address. Raises BadAddress unless it is https, or http on this machine, without credentials and fragment."""
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and parts.hostname in HERE
    if not (parts.scheme == "https" or is_here) or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise BadAddress(f"{url[:200]!r} must be an https:// address (http:// on 127.0.0.1 alone), without credentials")
    return url
