"""docker-compose.yml and the images agree with the catalogue, the settings and the locks. No Docker engine is needed."""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from contracts.catalog import OPTIONAL, SERVICES
from contracts.catalog import OURS as EVERY_SERVICE
from infra import access_rules as rules
from infra.cli import logins
from infra.servers import MODEL_NAME, passwords, principals
from infra.servers.kafka import VERSION
from shared.eventstore.postgres.logins import Login
from shared.masking import masked
from shared.settings import Settings
from tests.processes import given_environment

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = ("secrets", "setup")  # they end
LASTING = [name for name, one in CONTAINERS.items() if "profiles" not in one and name not in ONCE]
OURS = {"hansard", "hansard-model"}
SECRETS = ("authority", "kafka-secrets", "postgres-secrets", "setup-secrets", "service-secrets")
FILES = ("hansard_postgres", "ca.pem", "hansard_kafka_username", "hansard_kafka_password")  # of a service
DOCKERFILE = (ROOT / "infra/Dockerfile").read_text()


@pytest.mark.parametrize("service", EVERY_SERVICE)
def test_every_service_has_a_container_of_its_own(service: str) -> None:
    container = CONTAINERS[service]
    assert (container["image"], container["command"]) == ("hansard", ["serve", service])
    assert container["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    assert any("127.0.0.1:8080/ready" in part for part in container["healthcheck"]["test"])


def test_there_is_no_other_container() -> None:
    assert {*LASTING} == {*SERVICES, "kafka", "postgres", "model"}


def test_the_http_door_is_started_when_it_is_asked_for_and_published_on_this_machine() -> None:
    door = CONTAINERS["edge"]
    assert [name for name in EVERY_SERVICE if "profiles" in CONTAINERS[name]] == list(OPTIONAL)
    assert (door["profiles"], door["ports"]) == (["http"], ["127.0.0.1:${EDGE_PORT:-8081}:8081"])
    assert door["environment"]["HANSARD_EDGE"] == "0.0.0.0:8081" and door["restart"] == "unless-stopped"


OF_FILES = ("HANSARD_GATEWAY", "HANSARD_PLANS", "HANSARD_ROLES", "HANSARD_APPROVALS", "HANSARD_WEBHOOKS")


@pytest.mark.parametrize("name", (*EVERY_SERVICE, "hansard", "ask"))
def test_files_of_a_users_own_reach_every_service_and_the_commands(name: str) -> None:
    container = CONTAINERS[name]
    assert container["volumes"][0] == "${HANSARD_FILES:-files}:/etc/hansard:ro"
    assert {key: container["environment"][key] for key in OF_FILES} == {key: f"${{{key}:-}}" for key in OF_FILES}


def test_a_file_that_is_not_given_is_none() -> None:
    with given_environment(dict.fromkeys(OF_FILES, "") | {"HANSARD_REVIEWER_TOPICS": "", "HANSARD_OIDC_ISSUER": ""}):
        settings = Settings()
    assert {settings.gateway, settings.plans, settings.roles, settings.approvals, settings.webhooks} == {None}
    assert settings.reviewer_topics == () and settings.oidc_issuer == ""


def test_migrations_and_topics_wait_for_their_servers() -> None:
    healthy = {"condition": "service_healthy"}
    assert CONTAINERS["setup"]["depends_on"] == {"kafka": healthy, "postgres": healthy}
    assert CONTAINERS["setup"]["restart"] == "no"


def test_no_container_waits_for_the_model() -> None:
    assert not [name for name, one in CONTAINERS.items() if "model" in one.get("depends_on", {})]


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_container_restarts_has_a_health_check_and_bounded_logs(name: str) -> None:
    container = CONTAINERS[name]
    assert container["restart"] == "unless-stopped"
    assert container["healthcheck"]["test"][0] == "CMD"
    assert container["logging"] == {"driver": "local"}, "a log of bounded size"


def test_ports_are_published_on_this_machine_only() -> None:
    published = [port for one in CONTAINERS.values() for port in one.get("ports", [])]
    assert len(published) == 3 and all(port.startswith("127.0.0.1:") for port in published)


def test_foreign_images_are_pinned_and_our_own_are_built() -> None:
    images = {one["image"] for one in CONTAINERS.values()}
    assert images - OURS == {f"apache/kafka:{VERSION}", "pgvector/pgvector:pg18"}
    built = {one["image"]: one["build"] for one in CONTAINERS.values() if "build" in one}
    assert built.keys() == OURS
    assert {build["target"] for build in built.values()} <= {*re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.M)}
    bases = re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.M)
    assert bases and len({*bases}) == 1 and not bases[0].endswith(":latest")


def test_data_is_kept_in_volumes_where_the_images_expect_it() -> None:
    assert COMPOSE["volumes"].keys() == {"kafka", "postgres", "ledger", "files", *SECRETS}
    assert CONTAINERS["kafka"]["volumes"][0] == f"kafka:{CONTAINERS['kafka']['environment']['KAFKA_LOG_DIRS']}"
    assert CONTAINERS["postgres"]["volumes"][0] == "postgres:/var/lib/postgresql", "from PostgreSQL 18 on; before it was …/data"


def test_kafka_advertises_the_address_at_which_it_is_published() -> None:
    kafka = CONTAINERS["kafka"]
    inside, outside = kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",", 1)
    assert f"{outside.removeprefix('HOST://')}:9092" == kafka["ports"][0]
    assert inside.removeprefix("INTERNAL://") == CONTAINERS["router"]["environment"]["HANSARD_KAFKA"]


def test_services_are_no_owner_and_no_password_is_written_down() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"PASSWORD:-[^}]", text) and "HANSARD_POSTGRES:" not in text
    readers = {
        name: volume for name, one in CONTAINERS.items() for volume in one.get("volumes", ()) if "/run/secrets" in str(volume)
    }
    assert readers.pop("postgres") == "postgres-secrets:/run/secrets:ro"
    assert readers.pop("kafka") == "kafka-secrets:/run/secrets:ro"
    assert readers.pop("setup") == "setup-secrets:/run/secrets:ro", "the owner's address is there, and nowhere else"
    parts = {name: volume["volume"]["subpath"] for name, volume in readers.items()}
    assert parts == {name: name for name in EVERY_SERVICE} | dict.fromkeys(("hansard", "ask"), passwords.EVERY)
    for volume in readers.values():
        assert (volume["source"], volume["target"], volume["read_only"]) == ("service-secrets", "/run/secrets", True)
    for server in ("postgres", "kafka"):
        assert CONTAINERS[server]["depends_on"] == {"secrets": {"condition": "service_completed_successfully"}}
    assert "/run/secrets/password" in CONTAINERS["postgres"]["entrypoint"][2]
    assert CONTAINERS["setup"]["command"][0].startswith("hansard migrate && hansard topics --passwords /run/secrets/principals ")
    assert [name for name, one in CONTAINERS.items() if "authority:" in str(one.get("volumes"))] == ["secrets"]


def test_postgres_takes_nothing_without_tls() -> None:
    command = CONTAINERS["postgres"]["command"]
    pem, rules = "/run/secrets/server.pem", "/run/secrets/pg_hba.conf"
    assert {"-cssl=on", f"-cssl_cert_file={pem}", f"-cssl_key_file={pem}", f"-chba_file={rules}"} <= {*command}
    assert all(line.split()[0] in ("local", "hostssl") and line.endswith("scram-sha-256") for line in passwords.HBA.splitlines())


def test_kafka_takes_nothing_without_tls_and_a_user() -> None:
    given = CONTAINERS["kafka"]["environment"]
    listeners = [one.partition("://")[0] for one in given["KAFKA_LISTENERS"].split(",")]
    assert "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP" not in given, "it is among the secrets, with all that belongs to it"
    assert ". /run/secrets/kafka.env; exec" in CONTAINERS["kafka"]["command"][2]
    known = principals.broker_settings(("INTERNAL", "HOST"), "b", "a")
    assert known["listener.security.protocol.map"] == ",".join(f"{listener}:SASL_SSL" for listener in listeners)
    assert known["allow.everyone.if.no.acl.found"] == "false"
    for name in (*EVERY_SERVICE, "hansard", "ask"):
        environment = CONTAINERS[name]["environment"]
        assert (environment["HANSARD_KAFKA_SECURITY"], environment["HANSARD_KAFKA_MECHANISM"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert CONTAINERS["setup"]["environment"]["HANSARD_KAFKA_MECHANISM"] == "PLAIN"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_each_container_is_a_user_of_kafka_of_its_own(tmp_path: Path) -> None:
    files = made(tmp_path)
    users = {name: files[f"service/{name}/hansard_kafka_username"] for name in (*EVERY_SERVICE, "all")}
    assert users == {name: f"hansard-{name}" for name in EVERY_SERVICE} | {"all": "hansard-console"}
    assert (files["setup/hansard_kafka_username"], files["service/all/hansard-outside"]) == (
        principals.ADMINISTRATOR,
        files["setup/principals/hansard-outside"],
    )
    for reader, user in users.items():
        assert files[f"service/{reader}/hansard_kafka_password"] == files[f"setup/principals/{user}"]
    secrets = {name: text for name, text in files.items() if name.startswith("setup/principals/")}
    assert len({*secrets.values()}) == len(secrets) == len({*rules.principals(Settings()), "hansard-admin", "kafka"})
    lines = dict(line.partition("=")[::2] for line in files["kafka/kafka.env"].splitlines())
    assert lines["KAFKA_SSL_KEYSTORE_LOCATION"] == "/run/secrets/kafka.pem"
    assert files["setup/hansard_kafka_password"] in lines["KAFKA_LISTENER_NAME_HOST_PLAIN_SASL_JAAS_CONFIG"]
    assert "KAFKA_LISTENER_NAME_INTERNAL_SCRAM___SHA___512_SASL_JAAS_CONFIG" in lines


def made(folder: Path) -> dict[str, str]:
    for kind in ("authority", *passwords.USERS):
        (folder / kind).mkdir(exist_ok=True)
    passwords.for_compose(folder)
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_passwords_are_made_once_and_given_to_their_readers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTGRES_PASSWORD", raising=False)
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "hansard_postgres").write_text("of release 0.2.0, for all services")
    first = made(tmp_path)
    owner, shared = (Login.of(first[f"setup/{name}"]) for name in ("hansard_postgres_owner", "hansard_postgres"))
    assert owner and shared and (owner.name, shared.name) == ("hansard", "hansard_service")
    assert len({owner.password, shared.password}) == 2 and min(len(owner.password), len(shared.password)) >= 24
    assert (
        first["postgres/password"] == owner.password and first["service/all/hansard_postgres"] == first["setup/hansard_postgres"]
    )
    own = {name: first[f"service/{name}/hansard_postgres"] for name in EVERY_SERVICE}
    assert json.loads(first["setup/hansard_postgres_logins"]) == own
    assert {login.name for dsn in own.values() if (login := Login.of(dsn))} == {f"service-{name}" for name in EVERY_SERVICE}
    assert len({login.password for dsn in own.values() if (login := Login.of(dsn))} - {shared.password}) == len(EVERY_SERVICE)
    for dsn in (*own.values(), first["setup/hansard_postgres"], first["setup/hansard_postgres_owner"]):
        assert dsn.endswith("?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem")
    assert first.keys() == {
        "authority/ca.key", "authority/ca.pem", "authority/postgres.pem", "authority/kafka.pem",
        "kafka/kafka.env", "kafka/kafka.pem", "kafka/ca.pem", "service/all/hansard-outside",
        "setup/hansard_kafka_username", "setup/hansard_kafka_password",
        *(f"setup/principals/{name}" for name in (*rules.principals(Settings()), "hansard-admin", "kafka")),
        "postgres/password", "postgres/server.pem", "postgres/pg_hba.conf",
        "setup/hansard_postgres_owner", "setup/hansard_postgres", "setup/hansard_postgres_logins", "setup/service.password",
        "setup/ca.pem", *(f"service/{name}/{file}" for name in (*EVERY_SERVICE, "all") for file in FILES),
    }  # fmt: skip
    for path in tmp_path.rglob("*"):
        kind = path.relative_to(tmp_path).parts[0]
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
        assert path.stat().st_uid == passwords.USERS.get(kind, 0)
    assert made(tmp_path) == first, "a second start changes nothing"
    assert passwords.USERS["service"] == int(re.findall(r"--uid (\d+)", DOCKERFILE)[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_person_with_a_topic_of_their_own_gets_a_password_that_only_the_setup_has(tmp_path: Path) -> None:
    with given_environment({**os.environ, "HANSARD_REVIEWER_TOPICS": "approvals.reviews.alice"}):
        files, names = made(tmp_path), rules.principals(Settings())
    assert "hansard-person:alice" in names
    assert {f"setup/principals/{name}" for name in names} <= files.keys(), "what `hansard topics --passwords` sets"
    secret = files["setup/principals/hansard-person:alice"]
    assert [name for name, text in files.items() if secret in text] == ["setup/principals/hansard-person:alice"]
    for container in ("secrets", "setup", "approval"):
        assert CONTAINERS[container]["environment"]["HANSARD_REVIEWER_TOPICS"] == "${HANSARD_REVIEWER_TOPICS:-}"


def test_the_setup_makes_each_service_the_login_that_its_container_has(tmp_path: Path) -> None:
    (tmp_path / "hansard_postgres").write_text("postgresql://s:shared-secret@h/d")
    (tmp_path / "hansard_postgres_logins").write_text('{"router": "postgresql://r:secret-of-router@h/d"}')
    settings = Settings(_secrets_dir=tmp_path)
    assert settings.postgres_of("router") == logins.every(settings)["router"] == "postgresql://r:secret-of-router@h/d"
    assert settings.postgres_of("planner") == settings.postgres_of("router", "planner") == "postgresql://s:shared-secret@h/d"
    assert "secret-of-router" not in masked(f"{settings!r} secret-of-router")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_password_of_ones_own_is_the_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "p@ss/word:1")
    found = Login.of(made(tmp_path)["setup/hansard_postgres_owner"])
    assert found and found.password == "p@ss/word:1"


def test_settings_come_from_files_with_secrets_too(tmp_path: Path) -> None:
    (tmp_path / "hansard_postgres").write_text("postgresql://s:from-a-file@h/d\n")
    (tmp_path / "hansard_model_key").write_text("sk-from-a-file")
    with given_environment({"HANSARD_MODEL_KEY": "from-the-environment"}):
        settings = Settings(_secrets_dir=tmp_path)
    assert settings.postgres.get_secret_value() == "postgresql://s:from-a-file@h/d"
    assert settings.model_key.get_secret_value() == "from-the-environment", "the environment wins"


def test_every_variable_that_is_set_is_a_setting() -> None:
    known = {f"HANSARD_{name.upper()}" for name in Settings.model_fields}
    given = {name for one in CONTAINERS.values() for name in one.get("environment", {}) if name.startswith("HANSARD_")}
    in_the_image = {*re.findall(r"\b(HANSARD_\w+)=", DOCKERFILE)}
    assert given and in_the_image and given | in_the_image <= known


def test_the_gateway_names_the_small_model() -> None:
    assert CONTAINERS["gateway"]["environment"]["HANSARD_MODEL_NAME"] == f"${{HANSARD_MODEL_NAME:-{MODEL_NAME}}}"


def test_only_the_gateway_and_the_command_have_the_model_key() -> None:
    holders = [name for name, one in CONTAINERS.items() if "HANSARD_MODEL_KEY" in one.get("environment", {})]
    assert holders == ["gateway", "hansard"]


@pytest.mark.parametrize("name", [name for name, one in CONTAINERS.items() if one["image"] in OURS])
def test_our_containers_need_no_privileges(name: str) -> None:
    container = CONTAINERS[name]
    more = {"secrets": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]}  # it gives each file to its reader, and has no network
    assert container.get("cap_add") == more.get(name) and (name != "secrets" or container["network_mode"] == "none")
    assert container["read_only"] and container["cap_drop"] == ["ALL"] and "privileged" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]


def test_images_run_as_an_unprivileged_user() -> None:
    stages = re.split(r"^FROM .* AS (\w+)$", DOCKERFILE, flags=re.M)
    users = {name: re.findall(r"^USER (\w+)$", text, re.M) for name, text in zip(stages[1::2], stages[2::2], strict=True)}
    assert {name: found[-1:] for name, found in users.items()} == {"build": [], "hansard": ["hansard"], "model": ["hansard"]}


def test_the_build_context_holds_only_what_is_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*", "files that are not named, also a `.env`, stay out"
    copied = {path for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M) for path in line.split()}
    assert {line[1:] for line in ignored if line.startswith("!")} == {path.partition("/")[0] for path in copied}


# The image of the services has no Java, no Node and no tools


def locked(file: str) -> dict[str, str]:
    """Each pin of a lock file with its hashes, by its first line."""
    pins = re.split(r"\n(?=[a-z])", (ROOT / file).read_text().strip())
    return {pin.partition(" \\\n")[0]: pin for pin in pins}


def needed(requirement: Requirement, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Every package that a requirement needs on this machine, itself included."""
    name = canonicalize_name(requirement.name)
    for extra in requirement.extras or {""}:
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        yield name
        for line in requires(name) or ():
            further = Requirement(line)
            if further.marker is None or any(further.marker.evaluate({"extra": one}) for one in {extra, ""}):
                yield from needed(further, seen)


def test_the_services_lock_is_a_part_of_the_lock() -> None:
    whole, part = locked("requirements.lock"), locked("infra/services.lock")
    assert part.items() <= whole.items(), "`make lock` writes both"


def test_the_services_lock_holds_exactly_what_the_services_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["s3"]]  # a bucket for contents
    seen: set[tuple[str, str]] = set()
    need = {
        name
        for line in wanted
        if (one := Requirement(line)).marker is None or one.marker.evaluate()
        for name in needed(one, seen)
    }
    pins = [Requirement(pin) for pin in locked("infra/services.lock")]
    here = {canonicalize_name(pin.name) for pin in pins if pin.marker is None or pin.marker.evaluate()}
    assert need == here, "`make lock` writes both"
