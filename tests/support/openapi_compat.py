"""What of a change to an OpenAPI document breaks programs that were written for the one before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from support.openapi_document import Document, operations

Schema = Mapping[str, Any]
Direction = Literal["sent to us", "sent by us"]
MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


def breaks(old: Document, new: Document) -> list[str]:
    """A sentence for each thing that a program may rely on in `old` and that `new` takes away."""
    comparison = _Comparison(old, new)
    now = {(method, path): operation for method, path, operation in operations(new)}
    found = []
    for method, path, before in operations(old):
        after = now.get((method, path))
        name = f"{method.upper()} {path}"
        found += (
            [f"{name}: gone"] if after is None else [f"{name}: {each}" for each in comparison.operation(before, after)]
        )
    for event, before in old.get("webhooks", {}).items():
        after = new.get("webhooks", {}).get(event)
        content = _bodies(before["post"]["requestBody"])
        found += (
            [f"webhook {event}: gone"]
            if after is None
            else [
                f"webhook {event}: {each}"
                for each in comparison.bodies(content, _bodies(after["post"]["requestBody"]), "sent by us")
            ]
        )
    return found


def _bodies(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    return {media_type: content.get("schema", {}) for media_type, content in holder.get("content", {}).items()}


@dataclass(frozen=True)
class _Comparison:
    old: Document
    new: Document

    def operation(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield "its operationId has changed"
        yield from self.parameters(old.get("parameters", ()), new.get("parameters", ()))
        before, after = old.get("requestBody", {}), new.get("requestBody", {})
        if after.get("required") and not before.get("required"):
            yield "a body is needed now"
        yield from self.bodies(_bodies(before), _bodies(after), "sent to us")
        if "security" in new and new["security"] != old.get("security"):
            yield "it asks for another key"
        for status, response in old["responses"].items():
            answer = new["responses"].get(status)
            if answer is None:
                if status < "4":  # a refusal that no longer comes breaks nobody
                    yield f"it no longer answers {status}"
                continue
            for header in set(response.get("headers", ())) - set(answer.get("headers", ())):
                yield f"{status} has no {header} any more"
            yield from self.bodies(_bodies(response), _bodies(answer), "sent by us")

    def parameters(self, old: Any, new: Any) -> Iterator[str]:
        before, after = ({(each["in"], each["name"]): each for each in side} for side in (old, new))
        for key, parameter in before.items():
            if key not in after:
                yield f"the parameter {key[1]} is gone"
            else:
                yield from self.schemas(parameter["schema"], after[key]["schema"], "sent to us", key[1])
        for key, parameter in after.items():
            was_needed = before.get(key, {}).get("required", False)
            if parameter.get("required") and not was_needed:
                yield f"the parameter {key[1]} is needed now"

    def bodies(self, old: Mapping[str, Schema], new: Mapping[str, Schema], direction: Direction) -> Iterator[str]:
        for media_type, schema in old.items():
            if media_type not in new:
                yield f"{media_type} is gone"
            else:
                yield from self.schemas(schema, new[media_type], direction, "body")

    def schemas(
        self, old: Schema, new: Schema, direction: Direction, place: str, seen: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """`place` is where in the body the two stand; `seen` are the names that lead there."""
        name = old.get("$ref", "")
        if name in seen:
            return
        seen |= {name} if name else set()
        old, new = self._resolved(old, self.old), self._resolved(new, self.new)
        yield from _kinds(old, new, direction, place)
        if direction == "sent to us":
            yield from _limits(old, new, place)
        for field, schema in old.get("properties", {}).items():
            if field not in new.get("properties", {}):
                yield f"{place}.{field} is gone"
            else:
                yield from self.schemas(schema, new["properties"][field], direction, f"{place}.{field}", seen)
        yield from _needed(old, new, direction, place)
        for name, mark in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(old.get(name), Mapping):
                if isinstance(new.get(name), Mapping):
                    yield from self.schemas(old[name], new[name], direction, f"{place}{mark}", seen)
                else:
                    yield f"{place}{mark} may be anything now"

    def _resolved(self, schema: Schema, document: Document) -> Schema:
        """Without references, and without the null beside what it is else."""
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


def _kinds(old: Schema, new: Schema, direction: Direction, place: str) -> Iterator[str]:
    """What we take must not shrink, what we send must not grow; new words in an answer are no break."""
    lost = _types(old) - _types(new) if direction == "sent to us" else _types(new) - _types(old)
    if lost:
        yield f"{place} has another type: {', '.join(sorted(_types(old)))} → {', '.join(sorted(_types(new)))}"
    words = set(old.get("enum", ())) - set(new.get("enum", old.get("enum", ())))
    if words or (direction == "sent to us" and "enum" in new and "enum" not in old):
        yield f"{place} no longer has {', '.join(map(str, sorted(words))) or 'any word'}"
    for name in ("const", "format"):
        if old.get(name) != new.get(name):
            yield f"{place} has {name} {new.get(name)!r}, no longer {old.get(name)!r}"
    if direction == "sent to us":
        if old.get("default") != new.get("default"):
            yield f"{place} is {new.get('default')!r} where nothing is said, no longer {old.get('default')!r}"
        if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield f"{place} takes nothing else any more"


def _limits(old: Schema, new: Schema, place: str) -> Iterator[str]:
    for names, sign in ((MOST, 1), (LEAST, -1)):
        for name in names:
            if name in new and (name not in old or sign * new[name] < sign * old[name]):
                yield f"{place} is narrower: {name} {old.get(name, 'none')} → {new[name]}"
    if new.get("pattern") not in (None, old.get("pattern")):
        yield f"{place} has another pattern"


def _needed(old: Schema, new: Schema, direction: Direction, place: str) -> Iterator[str]:
    before, after = set(old.get("required", ())), set(new.get("required", ()))
    if direction == "sent to us":
        yield from (f"{place}.{field} is needed now" for field in sorted(after - before))
    else:
        yield from (f"{place}.{field} may be absent now" for field in sorted(before - after))
