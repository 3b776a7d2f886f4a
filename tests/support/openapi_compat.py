"""Finds the changes of an OpenAPI document that break clients of its previous version."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from support.openapi_document import Document, operations

Schema = Mapping[str, Any]
Direction = Literal["request", "response"]
MAXIMUMS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
MINIMUMS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


def breaking_changes(old: Document, new: Document) -> list[str]:
    """Return a sentence for each feature of `old` that clients may rely on and that `new` lacks."""
    comparison = _Comparison(old, new)
    new_operations = {(method, path): operation for method, path, operation in operations(new)}
    changes = []
    for method, path, before in operations(old):
        after = new_operations.get((method, path))
        name = f"{method.upper()} {path}"
        changes += (
            [f"{name}: removed"]
            if after is None
            else [f"{name}: {each}" for each in comparison.operation(before, after)]
        )
    for event, before in old.get("webhooks", {}).items():
        after = new.get("webhooks", {}).get(event)
        content = _bodies(before["post"]["requestBody"])
        changes += (
            [f"webhook {event}: removed"]
            if after is None
            else [
                f"webhook {event}: {each}"
                for each in comparison.bodies(content, _bodies(after["post"]["requestBody"]), "response")
            ]
        )
    return changes


def _bodies(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return {media_type: content.get("schema", {}) for media_type, content in message.get("content", {}).items()}


@dataclass(frozen=True)
class _Comparison:
    old: Document
    new: Document

    def operation(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield "the operationId has changed"
        yield from self.parameters(old.get("parameters", ()), new.get("parameters", ()))
        before, after = old.get("requestBody", {}), new.get("requestBody", {})
        if after.get("required") and not before.get("required"):
            yield "a body is now required"
        yield from self.bodies(_bodies(before), _bodies(after), "request")
        if "security" in new and new["security"] != old.get("security"):
            yield "the required key has changed"
        for status, response in old["responses"].items():
            new_response = new["responses"].get(status)
            if new_response is None:
                if status < "4":  # an error that no longer occurs breaks no client
                    yield f"the response {status} was removed"
                continue
            for header in set(response.get("headers", ())) - set(new_response.get("headers", ())):
                yield f"the header {header} of {status} was removed"
            yield from self.bodies(_bodies(response), _bodies(new_response), "response")

    def parameters(self, old: Any, new: Any) -> Iterator[str]:
        before, after = ({(each["in"], each["name"]): each for each in side} for side in (old, new))
        for key, parameter in before.items():
            if key not in after:
                yield f"the parameter {key[1]} was removed"
            else:
                yield from self.schemas(parameter["schema"], after[key]["schema"], "request", key[1])
        for key, parameter in after.items():
            was_required = before.get(key, {}).get("required", False)
            if parameter.get("required") and not was_required:
                yield f"the parameter {key[1]} is now required"

    def bodies(self, old: Mapping[str, Schema], new: Mapping[str, Schema], direction: Direction) -> Iterator[str]:
        for media_type, schema in old.items():
            if media_type not in new:
                yield f"{media_type} was removed"
            else:
                yield from self.schemas(schema, new[media_type], direction, "body")

    def schemas(
        self, old: Schema, new: Schema, direction: Direction, place: str, seen: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Compare two schemas at the path `place` of the body; `seen` are the references that lead there."""
        name = old.get("$ref", "")
        if name in seen:
            return
        seen |= {name} if name else set()
        old, new = self._resolved(old, self.old), self._resolved(new, self.new)
        yield from _types_and_values(old, new, direction, place)
        if direction == "request":
            yield from _limits(old, new, place)
        for field, schema in old.get("properties", {}).items():
            if field not in new.get("properties", {}):
                yield f"{place}.{field} was removed"
            else:
                yield from self.schemas(schema, new["properties"][field], direction, f"{place}.{field}", seen)
        yield from _required(old, new, direction, place)
        for name, mark in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(old.get(name), Mapping):
                if isinstance(new.get(name), Mapping):
                    yield from self.schemas(old[name], new[name], direction, f"{place}{mark}", seen)
                else:
                    yield f"{place}{mark} no longer has a schema"

    def _resolved(self, schema: Schema, document: Document) -> Schema:
        """Replace references, and a union of one type with null by `nullable`."""
        if "$ref" in schema:
            return self._resolved(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            return {**self._resolved(kinds[0], document), "nullable": len(schema["anyOf"]) > 1}
        return schema


def _types(schema: Schema) -> set[str]:
    kinds = schema.get("anyOf", [schema])
    types = {str(kind.get("type", kind.get("$ref", "any"))) for kind in kinds}
    return types | ({"null"} if schema.get("nullable") else set())


def _types_and_values(old: Schema, new: Schema, direction: Direction, place: str) -> Iterator[str]:
    """Compare types: requests must not accept less, responses not contain more; new enum values may appear in them."""
    changed = _types(old) - _types(new) if direction == "request" else _types(new) - _types(old)
    if changed:
        yield f"{place} has another type: {', '.join(sorted(_types(old)))} → {', '.join(sorted(_types(new)))}"
    removed = set(old.get("enum", ())) - set(new.get("enum", old.get("enum", ())))
    if removed or (direction == "request" and "enum" in new and "enum" not in old):
        yield f"{place} no longer allows {', '.join(map(str, sorted(removed))) or 'every value'}"
    for name in ("const", "format"):
        if old.get(name) != new.get(name):
            yield f"{place} has the {name} {new.get(name)!r} instead of {old.get(name)!r}"
    if direction == "request":
        if old.get("default") != new.get("default"):
            yield f"{place} has the default {new.get('default')!r} instead of {old.get('default')!r}"
        if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield f"{place} no longer allows additional fields"


def _limits(old: Schema, new: Schema, place: str) -> Iterator[str]:
    for names, sign in ((MAXIMUMS, 1), (MINIMUMS, -1)):
        for name in names:
            if name in new and (name not in old or sign * new[name] < sign * old[name]):
                yield f"{place} is narrower: {name} {old.get(name, 'none')} → {new[name]}"
    if new.get("pattern") not in (None, old.get("pattern")):
        yield f"{place} has another pattern"


def _required(old: Schema, new: Schema, direction: Direction, place: str) -> Iterator[str]:
    before, after = set(old.get("required", ())), set(new.get("required", ()))
    if direction == "request":
        yield from (f"{place}.{field} is now required" for field in sorted(after - before))
    else:
        yield from (f"{place}.{field} may now be absent" for field in sorted(before - after))
