"""The mode in which identities are not proven: for development alone, and never in silence."""

from dataclasses import dataclass

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from infra.cli import base
from infra.cli.identity_checks import identities
from infra.cli.problem import Problem
from shared.runtime.assembly import ServiceRunner, tell_unproven
from shared.settings import UNPROVEN, Settings

DEVELOPMENT = Settings(environment="development", unproven_identities=True)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("HANSARD_UNPROVEN_IDENTITIES", "true")
    return monkeypatch


def test_a_deployment_that_asks_for_nothing_is_in_production_and_proves_who_is_who() -> None:
    assert (Settings().environment, Settings().unproven_identities) == ("production", False)


@pytest.mark.parametrize("given", [{}, {"environment": "production"}])
def test_it_is_refused_in_production(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="HANSARD_ENVIRONMENT=development"):
        Settings.model_validate({"unproven_identities": True, **given})


def test_every_command_and_service_that_is_started_so_ends_with_one_sentence(asked_for: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match=r"^HANSARD_UNPROVEN_IDENTITIES is not valid: in production nobody is believed") as problem:
        base.local()
    assert problem.value.code == 2


def test_development_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HANSARD_ENVIRONMENT", "development")
    assert not base.local().unproven_identities
    assert capsys.readouterr() == ("", "")


def test_every_command_warns_on_standard_error(asked_for: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked_for.setenv("HANSARD_ENVIRONMENT", "development")
    assert base.local().unproven_identities
    out, err = capsys.readouterr()
    assert out == ""
    assert f"WARNING {UNPROVEN}" in " ".join(err.split())


async def test_doctor_fails_on_it() -> None:
    (finding,) = await identities(DEVELOPMENT)
    assert (finding.ok, finding.found) == (False, UNPROVEN)
    (finding,) = await identities(Settings())
    assert finding.ok


def test_every_service_warns_when_it_starts() -> None:
    with capture_logs() as logs:
        tell_unproven(DEVELOPMENT, "approval")
        tell_unproven(Settings(), "router")
    assert [(line["log_level"], line["event"], line["service"]) for line in logs] == [("warning", UNPROVEN, "approval")]


def test_its_health_page_shows_it() -> None:
    @dataclass
    class Store:
        ahead: float = 0

    @dataclass
    class Loop:
        set_aside: tuple[()] = ()

    for settings, expected in ((DEVELOPMENT, {"identities": UNPROVEN}), (Settings(), {})):
        runner = ServiceRunner(None, settings, Store())  # type: ignore[arg-type]
        runner.loop, runner._tasks = Loop(), [None]  # type: ignore[assignment, list-item]
        assert runner.warnings == expected
