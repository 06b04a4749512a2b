"""Whether an answer is what the OpenAPI schema says: the part of JSON Schema that ours uses."""

from __future__ import annotations

from typing import Any

import httpx

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def problems(schema: dict[str, Any], path: str, method: str, answer: httpx.Response) -> list[str]:
    """What the answer has that the schema does not say, and the other way round."""
    said = schema["paths"][path][method]["responses"]
    where = f"{method} {path} {answer.status_code}"
    if str(answer.status_code) not in said:
        return [f"{where} is not in the schema: {answer.text[:200]}"]
    content = said[str(answer.status_code)].get("content")
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if not content:
        return [f"{where} has a body, the schema has none"] if answer.content else []
    if kind not in content:
        return [f"{where} is {kind}, the schema says {', '.join(content)}"]
    wanted = content[kind].get("schema", {})
    if kind != "application/json":
        return []
    return [f"{where}: {one}" for one in _check(schema, wanted, answer.json(), "body")]


def _check(schema: dict[str, Any], wanted: dict[str, Any], value: Any, at: str) -> list[str]:
    if "$ref" in wanted:
        name = wanted["$ref"].rpartition("/")[2]
        return _check(schema, schema["components"]["schemas"][name], value, at)
    if "anyOf" in wanted:
        tried = [_check(schema, one, value, at) for one in wanted["anyOf"]]
        return [] if [] in tried else [problem for one in tried for problem in one]
    if "enum" in wanted or "const" in wanted:
        allowed = wanted.get("enum", [wanted.get("const")])
        return [] if value in allowed else [f"{at} is {value!r}, allowed is {allowed}"]
    kind = wanted.get("type")
    if kind is None:
        return []
    if not isinstance(value, TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        return [f"{at} is {value!r}, which is no {kind}"]
    if isinstance(value, list):
        found = (
            _check(schema, wanted.get("items", {}), one, f"{at}[{number}]")
            for number, one in enumerate(value)
        )
        return [problem for problems in found for problem in problems]
    return _check_object(schema, wanted, value, at) if isinstance(value, dict) else []


def _check_object(
    schema: dict[str, Any], wanted: dict[str, Any], value: dict[str, Any], at: str
) -> list[str]:
    properties = wanted.get("properties", {})
    others = wanted.get("additionalProperties", True)
    found = [f"{at}.{key} is missing" for key in wanted.get("required", ()) if key not in value]
    for key, one in value.items():
        if key in properties:
            found += _check(schema, properties[key], one, f"{at}.{key}")
        elif isinstance(others, dict):
            found += _check(schema, others, one, f"{at}.{key}")
        elif not others:
            found.append(f"{at}.{key} is not in the schema")
    return found
