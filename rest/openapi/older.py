"""The same document as OpenAPI 3.0, whose schemas are an older JSON Schema: no null type, no arrays of types, one example."""

from typing import Any

VERSION = "3.0.4"


def as_3_0(document: dict[str, Any]) -> dict[str, Any]:
    """Return a 3.1 document as 3.0; what 3.0 has no word for is left out."""
    info = {**document["info"], "license": {"name": document["info"]["license"]["name"]}}
    kept = {key: value for key, value in document.items() if key not in ("webhooks", "jsonSchemaDialect")}
    components = {**kept["components"]}
    components["schemas"] = {name: _schema(each) for name, each in components["schemas"].items()}
    for part in ("responses", "parameters", "requestBodies", "headers"):
        components[part] = _part(components[part])
    return {**kept, "openapi": VERSION, "info": info, "paths": _part(kept["paths"]), "components": components}


def _part(value: Any) -> Any:
    """Change the schemas within a part of the document; examples are nobody's schemas."""
    if isinstance(value, list):
        return [_part(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _schema(each) if key == "schema" else each if key in ("example", "examples") else _part(each)
        for key, each in value.items()
    }


def _schema(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    written: dict[str, Any] = {}
    for key, value in schema.items():
        _write(written, key, value)
    return _nullable(written)


def _write(written: dict[str, Any], key: str, value: Any) -> None:
    match key:
        case "properties":
            written[key] = {name: _schema(each) for name, each in value.items()}
        case "default" | "enum":
            written[key] = value
        case "const":
            written["enum"] = [value]
        case "examples":
            written["example"] = value[0]
        case "exclusiveMinimum":
            written |= {"minimum": value, "exclusiveMinimum": True}
        case "exclusiveMaximum":
            written |= {"maximum": value, "exclusiveMaximum": True}
        case "patternProperties":
            # It cannot say how names look: what stands under any is said of all.
            written["additionalProperties"] = _schema(next(iter(value.values())))
        case "$defs" | "$schema" | "propertyNames" | "contentMediaType":
            pass
        case _:
            written[key] = _schema(value)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Say `nullable` for a choice of null; a reference cannot have it beside it, so it stands in an allOf."""
    options = schema.get("anyOf")
    if options is None or {"type": "null"} not in options:
        return schema
    left = [each for each in options if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(left) == 1:
        one = {"allOf": left} if "$ref" in left[0] else left[0]
        return {**one, **rest, "nullable": True}
    return {**rest, "anyOf": [{**each, "nullable": True} if "$ref" not in each else each for each in left]}
