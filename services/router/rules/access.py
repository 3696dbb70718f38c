"""Access by role and scope: what is not granted is denied."""

from typing import Annotated

from pydantic import Field

from services.router.rules.rule import Data, Input, Rule

Text = Annotated[str, Field(min_length=1, max_length=200)]


class Access(Input):
    """`grants`: the scopes of each role; `scopes`: the caller's own. `documents:*` covers all documents, `*` everything."""

    scope: Text
    role: Text | None = None
    grants: dict[Text, list[Text]] = Field(default={}, max_length=1000)
    scopes: list[Text] = Field(default=[], max_length=1000)


def covers(grant: str, scope: str) -> bool:
    prefix = grant[:-1] if grant.endswith(":*") else None
    return grant in ("*", scope) or (prefix is not None and scope.startswith(prefix) and scope != prefix)


def check_access(given: Access) -> Data:
    by_role = given.grants.get(given.role, []) if given.role else []
    granted = next((grant for grant in (*given.scopes, *by_role) if covers(grant, given.scope)), None)
    return {
        "allowed": granted is not None,
        "scope": given.scope,
        "role": given.role,
        "granted_by": granted,
        "method": "grant_match",
    }


CHECK_ACCESS = Rule(
    "check_access",
    Access,
    check_access,
    lambda d: f"{d['scope']} is allowed by {d['granted_by']}." if d["allowed"] else f"{d['scope']} is denied: nothing grants it.",
    version="2",
)
