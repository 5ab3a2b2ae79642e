"""The reference of the HTTP API as a page, from the server's own description of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

METHODS = ("get", "post", "put", "delete")
SHAPES = ("Job", "Film", "Image", "Clip", "Folder", "Failure", "Style", "Weighted", "Masked", "Problem")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>API · impasto studio</title>
<link rel="icon" href="/page/shared/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/shared/look.css">
<link rel="stylesheet" href="/page/studio.css">
<script src="/page/shared/theme.js"></script>
</head>
<body>
<header class="top"><a class="brand" href="/">impasto</a><nav aria-label="Main"><a href="/">Studio</a>
<a href="/reference" aria-current="page">API</a></nav></header>
<main class="page reference">
<h1>API</h1>
<p>Calls need the token of the address that <code>impasto studio</code> prints. Set <code>TOKEN</code> to the token, and
<code>STUDIO</code> to the address before it. <a href="/api/openapi.json">openapi.json</a> is the same for programs.</p>
{calls}
</main>
</body>
</html>
"""


def page(described: Schema) -> str:
    """The page. described: as in openapi.json."""
    schemas = described["components"]["schemas"]
    calls = [
        _call(path, method, found[method], schemas)
        for path, found in described["paths"].items()
        for method in METHODS
        if method in found
    ]
    shapes = [
        _section(_code(name), _paragraph(schemas[name].get("description", "")), _rows(_fields(schemas[name], schemas)))
        for name in SHAPES
        if name in schemas
    ]
    return _PAGE.format(calls="\n".join(calls + shapes))


def _call(path: str, method: str, found: Schema, schemas: Schema) -> str:
    content = found.get("requestBody", {}).get("content", {})
    body = next((one["schema"] for one in content.values()), None)
    parameters = found.get("parameters", ())
    rows = [_row(one["name"], one["schema"], one.get("required", False), one.get("description", "")) for one in parameters]
    about = ""
    if body is not None:
        about = _full(body, schemas).get("description", "")
        rows += _fields(body, schemas)
    return _section(
        f'<code class="method">{method.upper()}</code> {_code(path)}',
        _paragraph(found.get("description", "")),
        _paragraph(about, "soft small") if about else "",
        _rows(rows),
        _paragraph(f"Answer: {'; '.join(_answers(found['responses']))}", "soft small"),
        f'<pre tabindex="0">{_code(_curl(method, path, content, parameters, schemas))}</pre>',
    )


def _answers(responses: Schema) -> Iterator[str]:
    for code, answer in responses.items():
        if int(code) < 400:
            kinds = list(answer.get("content", {}).items())
            schema = kinds[-1][1].get("schema", {}) if kinds else {}
            yield f"{code}, {_named(schema) or kinds[-1][0]}" if kinds else code


def _curl(method: str, path: str, content: Schema, parameters: Any, schemas: Schema) -> str:
    """The call as a line for a shell."""
    words = ["curl -sf", '-H "Authorization: Bearer $TOKEN"']
    if method != "get":
        words.append(f"-X {method.upper()}")
    if "multipart/form-data" in content:
        words.append(f"-F file=@{'photos.zip' if path.endswith('/folders') else 'photo.jpg'}")
    if "application/json" in content:
        schema = content["application/json"]["schema"]
        body = _example("", schema, schemas)
        if "styles" in body:
            body["styles"] = ["starry-night"] if path.endswith("/batches") else [{"id": "starry-night"}]
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body, separators=(',', ':'))}'"]
    choices = {one["name"]: one["schema"].get("enum", ["$ID"])[0] for one in parameters}
    return " \\\n  ".join([*words, '"$STUDIO' + re.sub(r"\{(\w+)\}", lambda match: choices.get(match[1], "$ID"), path) + '"'])


def _example(name: str, schema: Schema, schemas: Schema) -> Any:
    """A value that a field may have."""
    found = _full(schema, schemas)
    if "default" in found:
        return found["default"]
    if "enum" in found:
        return found["enum"][0]
    match found.get("type"):
        case "array":
            return []
        case "object":
            named = found.get("properties", {})
            needed = [one for one in named if one in found.get("required", ()) or one == "styles"]
            return {one: _example(one, named[one], schemas) for one in needed}
        case "integer" | "number":
            return _number(found.get("minimum", 1))
    return name.upper()


def _type(schema: Schema) -> str:
    """A type in words: "integer from 16 to 2048"."""
    if named := _named(schema):
        return named
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(map(_type, schema[key]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(map(json.dumps, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    name = "file" if schema.get("format") == "binary" or "contentMediaType" in schema else schema.get("type", "anything")
    limits = [f"{word} {_number(schema[key])}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    return " ".join([name, *limits])


def _number(value: float) -> float:
    """Without a fraction of zero."""
    return int(value) if value == int(value) else value


def _fields(schema: Schema, schemas: Schema) -> list[str]:
    found = _full(schema, schemas)
    needed = found.get("required", ())
    return [_row(name, one, name in needed, one.get("description", "")) for name, one in found.get("properties", {}).items()]


def _row(name: str, schema: Schema, required: bool, about: str) -> str:
    facts = [_type(schema)]
    if required:
        facts.append("required")
    elif "default" in schema:
        facts.append(f"default {json.dumps(schema['default'])}")
    words = ". ".join(filter(None, ("; ".join(facts), about)))
    return f"<div><dt>{_code(name)}</dt><dd>{escape(words)}</dd></div>"


def _full(schema: Schema, schemas: Schema) -> Schema:
    found: Schema = schemas.get(_named(schema), schema)
    return found


def _named(schema: Schema) -> str:
    return str(schema.get("$ref", "")).rsplit("/", 1)[-1]


def _section(title: str, *parts: str) -> str:
    return f'<section class="call"><h2>{title}</h2>{"".join(parts)}</section>'


def _rows(rows: list[str]) -> str:
    return f"<dl>{''.join(rows)}</dl>" if rows else ""


def _paragraph(text: str, look: str = "") -> str:
    return f'<p class="{look}">{escape(text)}</p>' if look else f"<p>{escape(text)}</p>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
