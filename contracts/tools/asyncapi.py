"""The catalogue as JSON Schemas and as an AsyncAPI 3.0 document. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core.core_schema import WithDefaultSchema

from contracts.catalog import Topics
from hansard.envelope import ATTRIBUTES
from hansard.topics import Kind, Topic

Document = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_BINDINGS = "0.5.0"
_REF = "#/components/schemas/{model}"
_ABOUT = (
    "Services that communicate only through these topics. Every message is a CloudEvent 1.0 in Kafka's binary mode (structured "
    "mode is read too) with JSON data. Its key is the correlation id, which names the workflow. Publish at a door "
    "(`x-door`), consume `results`. Where a deployment has a prefix, it stands before every address."
)
_TEXT: Document = {"type": "string", "minLength": 1, "maxLength": 512}
_HEADERS: dict[str, Document] = {
    "specversion": {"type": "string", "const": "1.0"},
    "id": _TEXT | {"description": "unique for its source: the same id again is the same message"},
    "source": _TEXT | {"description": "the producer"},
    "type": _TEXT | {"description": "the kind, with its version"},
    "correlationid": {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,199}$",
        "description": "the workflow; of a request without one, its id",
    },
    "tenant": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "default": "default"},
    "subject": _TEXT | {"description": "the stream it is stored in"},
    "time": {"type": "string", "format": "date-time", "description": "recorded time, RFC 3339"},
    "causationid": _TEXT | {"description": "id of the message that this one answers"},
    "traceparent": {"type": "string", "description": "W3C Trace Context; ignored where it is not of that form"},
    "sequence": {"type": "string", "pattern": "^[0-9]{1,11}$", "description": "its version in its stream"},
    "datahash": _TEXT | {"description": "SHA-256 of the data, hex"},
    "replayed": _TEXT | {"description": "set on what `hansard replay` publishes once more"},
    "tasktoken": _TEXT | {"description": "of a task for a worker outside: its answer counts only if it bears the same"},
}


class _Schema(GenerateJsonSchema):
    """Without the titles that pydantic makes of fields' names; the default of money as it is written: a string."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: WithDefaultSchema) -> Document:
        made = super().default_schema(schema)
        return made | {"default": str(made["default"])} if made.get("type") == "string" and "default" in made else made


def schema(kind: Kind, topics: Topics) -> Document:
    """JSON Schema of the data of one kind. Unknown fields are allowed: they are a newer version's."""
    made = kind.model_json_schema(mode=_mode(kind, topics), schema_generator=_Schema)
    urn = f"urn:{kind.kind.replace('.', ':', 1)}"
    first = {"$schema": _DRAFT, "$id": urn, "title": kind.__name__, "description": _about(kind, topics)}
    return first | {name: part for name, part in made.items() if name not in first}


def asyncapi(topics: Topics, version: str, examples: Mapping[str, Sequence[Document]]) -> Document:
    """The document. `examples`: message examples (name, headers, payload) by kind."""
    kinds = list(topics.kinds.values())
    refs, made = models_json_schema([(kind, _mode(kind, topics)) for kind in kinds], schema_generator=_Schema, ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Hansard", "version": version, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "Apache Kafka 3.9 or later",
                "variables": {"bootstrap": {"default": "localhost:9092"}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in topics.all},
        "operations": dict(_operations(topics)),
        "components": {
            "messages": {
                kind.kind: _message(kind, topics, refs[kind, _mode(kind, topics)], examples.get(kind.kind, ())) for kind in kinds
            },
            "schemas": {"Headers": _headers()} | made["$defs"],
            "correlationIds": {
                "workflow": {
                    "description": "The workflow. The same as the Kafka key.",
                    "location": "$message.header#/ce_correlationid",
                }
            },
        },
    }


def _mode(kind: Kind, topics: Topics) -> JsonSchemaMode:
    """The schema of a message at a door is what a sender may write; elsewhere, what a reader finds."""
    return "validation" if any(topic.door for topic in topics.all if kind in topic.kinds) else "serialization"


def _about(kind: Kind, topics: Topics) -> str:
    topic = next(topic for topic in topics.all if kind in topic.kinds)
    return " ".join((kind.__doc__ or f"On `{topic.name}`. {topic.about}").split())


def _headers() -> Document:
    properties = {f"ce_{name}": _HEADERS[name] for name in ATTRIBUTES}
    properties["content-type"] = {"type": "string", "const": "application/json"}
    required = ["ce_specversion", "ce_id", "ce_source", "ce_type"]
    return {"type": "object", "description": "CloudEvents 1.0, binary mode.", "required": required, "properties": properties}


def _channel(topic: Topic) -> Document:
    configuration: Document = {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms}
    return {
        "address": topic.name,
        "description": topic.about,
        "messages": {kind.kind: {"$ref": f"#/components/messages/{kind.kind}"} for kind in topic.kinds},
        **({"tags": [{"name": "door", "description": "open to the outside"}]} if topic.door else {}),
        "x-door": topic.door,
        "x-producers": list(topic.producers),
        "x-consumers": list(topic.consumers),
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": configuration, "bindingVersion": _BINDINGS}},
    }


def _operations(topics: Topics) -> Iterator[tuple[str, Document]]:
    for topic in topics.all:
        for service in topic.producers:
            yield f"{service}.publishes.{topic.name}", _operation("send", f"{service} publishes to", topic)
        for service in topic.consumers:
            yield f"{service}.receives.{topic.name}", _operation("receive", f"{service} receives from", topic)


def _operation(action: str, title: str, topic: Topic) -> Document:
    return {
        "action": action,
        "title": f"{title} {topic.name}",
        "summary": topic.about,
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{kind.kind}"} for kind in topic.kinds],
    }


def _message(kind: Kind, topics: Topics, payload: Document, examples: Sequence[Document]) -> Document:
    key = {"type": "string", "description": "the correlation id; optional on topics open to the outside"}
    return {
        "name": kind.kind,
        "title": kind.__name__,
        "summary": _about(kind, topics),
        "contentType": "application/json",
        "correlationId": {"$ref": "#/components/correlationIds/workflow"},
        "headers": {
            "type": "object",
            "allOf": [
                {"$ref": "#/components/schemas/Headers"},
                {"type": "object", "properties": {"ce_type": {"const": kind.kind}}},
            ],
        },
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDINGS}},
        "examples": list(examples),
    }
