"""Google's discovery document, which its client brings along, as strict JSON Schemas, and its methods.

The document has no enumerations for the fields of a body and no pattern for ids: the first stand in the
descriptions, the second is written down here.
"""

import json
import re
from importlib.resources import files

from googleapiclient import discovery_cache

DOCUMENT = json.loads(
    (files(discovery_cache) / "documents" / "calendar.v3.json").read_text(encoding="utf-8")
)
# Of the event's description: base32hex, between 5 and 1024 characters.
ID_PATTERN = "^[a-v0-9]{5,1024}$"
# What the descriptions were read to say; if a new document says it otherwise, that is to be seen.
ENUMS = {
    "status": {"confirmed", "tentative", "cancelled"},
    "transparency": {"opaque", "transparent"},
    "visibility": {"default", "public", "private", "confidential"},
}
READ_ONLY = {"created", "creator", "htmlLink", "updated", "organizer", "hangoutLink"}
# "Extended properties" of the API's guide: keys up to 44 characters, values up to 1024.
PROPERTY_KEY_MAX = 44
PROPERTY_VALUE_MAX = 1024
INT32 = {"minimum": -(2**31), "maximum": 2**31 - 1}


def methods(node=DOCUMENT):
    """All methods, those of resources within resources too."""
    for resource in node.get("resources", {}).values():
        yield from resource.get("methods", {}).values()
        yield from methods(resource)


def path_pattern(method):
    """A path's pattern, before percent-encoding is undone."""
    parts = re.split(r"\{(\w+)\}", method["path"])
    named = [f"(?P<{part}>[^/]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts)]
    return re.compile(re.escape(DOCUMENT["basePath"]) + "".join(named) + "$")


METHODS = [(method, path_pattern(method)) for method in methods()]


def method_of(verb, path):
    """The method of a request and its path's parameters, still encoded."""
    for method, pattern in METHODS:
        match = pattern.match(path)
        if match and method["httpMethod"] == verb:
            return method, match.groupdict()
    return None, {}


def resolved(schema):
    return DOCUMENT["schemas"][schema["$ref"]] if "$ref" in schema else schema


def enum_of(field):
    """`Possible values are:` and a list."""
    text = field.get("description", "")
    if field.get("type") != "string" or "Possible values are" not in text:
        return None
    return set(re.findall(r'- "([^"]+)"', text)) or None


def is_read_only(field):
    return field.get("readOnly") or "Read-only" in field.get("description", "")


def body_schema(method):
    """What this method takes as a body."""
    patch = method["httpMethod"] == "PATCH"
    schema = _schema(method["request"], method["id"], patch)
    schema["properties"]["id"]["pattern"] = ID_PATTERN
    return schema


def _schema(field, method, patch):
    field = resolved(field)
    kind = field.get("type", "any")
    if kind == "any":
        return {}
    if kind == "array":
        return {"type": kind, "items": _schema(field["items"], method, False)}
    if kind == "object":
        return _object(field, method, patch)
    made = {"type": kind}
    if "format" in field:
        made["format"] = field["format"]
        made |= INT32 if field["format"] == "int32" else {}
    enum = enum_of(field)
    return made | ({"enum": sorted(enum)} if enum else {})


def _object(field, method, patch):
    """Nothing but what is named. A PATCH may leave out anything, and remove by null what is not
    required of an event."""
    properties, required = {}, []
    for name, inner in field.get("properties", {}).items():
        always = inner.get("annotations", {}).get("required", [])
        if method in always:
            required.append(name)
        made = {"not": {}} if is_read_only(inner) else _schema(inner, method, patch)
        if patch and not always and not is_read_only(inner):
            made = or_null(made)
        properties[name] = made
    others = field.get("additionalProperties")
    made = {"type": "object", "properties": properties, "required": required}
    made["additionalProperties"] = False
    if others is not None:
        made["additionalProperties"] = _schema(others, method, False)
        made["additionalProperties"]["maxLength"] = PROPERTY_VALUE_MAX
        made["propertyNames"] = {"minLength": 1, "maxLength": PROPERTY_KEY_MAX}
    return made


def or_null(schema):
    made = dict(schema)
    if "type" in made:
        made["type"] = [made["type"], "null"]
    if "enum" in made:
        made["enum"] = made["enum"] + [None]
    return made


def is_well_read():
    """Whether the descriptions say what they did when this was written."""
    event = DOCUMENT["schemas"]["Event"]["properties"]
    read_only = {name for name, field in event.items() if is_read_only(field)}
    enums = {name: enum_of(event[name]) for name in ENUMS}
    return enums == ENUMS and READ_ONLY <= read_only


def not_with_sync_token():
    """The parameters that its description rules out beside it."""
    listing = next(method for method, _ in METHODS if method["id"] == "calendar.events.list")
    text = listing["parameters"]["syncToken"]["description"]
    named = set(re.findall(r"- (\w+)", text.split("cannot be specified together", 1)[1]))
    assert {"q", "timeMin", "privateExtendedProperty"} <= named, named
    return named
