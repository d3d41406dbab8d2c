"""Holds every request that our adapter has sent to the emulator of Google against Google's discovery
document: path, parameters, headers and body; and by hand what the document says only in words.

google_requests.py DIRECTORY
"""

import re
import sys
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

from google_discovery import (
    DOCUMENT,
    ID_PATTERN,
    METHODS,
    body_schema,
    is_well_read,
    method_of,
    not_with_sync_token,
    resolved,
)
from jsonschema import Draft202012Validator, FormatChecker
from recorded import Control, Refused, body, demand, fields, ill_formed, query, verdict

# RFC 3339, whose offset may be left out where a zone is said.
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
# An instance of a recurring event adds its original start.
EVENT_ID = re.compile(ID_PATTERN[1:-1] + r"(_\d{8}(T\d{6}Z)?)?")
ETAG = re.compile(r'"[!#-~]+"')
# "The page size can never be larger than 2500 events", and 250 entries.
MAX_RESULTS = {"calendar.events.list": 2500, "calendar.calendarList.list": 250}
NOT_WITH_SYNC_TOKEN = not_with_sync_token()
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(text):
    """Of what is a text; what is none is refused for its type."""
    return not isinstance(text, str) or bool(
        DATE_TIME.fullmatch(text) and datetime.fromisoformat(text)
    )


@FORMATS.checks("date", raises=ValueError)
def is_date(text):
    return not isinstance(text, str) or bool(DATE.fullmatch(text) and datetime.fromisoformat(text))


VALIDATORS = {
    method["id"]: Draft202012Validator(body_schema(method), format_checker=FORMATS)
    for method, _ in METHODS
    if method["id"] in ("calendar.events.insert", "calendar.events.patch")
}


def kind_of(request):
    method, _ = method_of(request.method, request.path)
    if method is None:
        return f"{request.method} {request.path}"
    names = sorted({name for name, _ in parse_qsl(request.query, keep_blank_values=True)})
    return f"{method['id'].removeprefix('calendar.')} ({' '.join(names)})"


def check(request):
    method, path = method_of(request.method, request.path)
    demand(method, "there is no such method")
    for name, value in path.items():
        demand(unquote(value, errors="strict"), f"{name} is empty")
    if "eventId" in path:
        demand(EVENT_ID.fullmatch(unquote(path["eventId"])), "eventId is not Google's")
    demand(request.authorization == "Bearer", "there is no bearer token")
    check_query(method, request.query)
    check_if_match(method, request.if_match)
    if "request" not in method:
        demand(request.body is None, "there is a body")
        demand(request.content_type is None, "a type, and no body")
        return
    demand(request.body is not None, "there is no body")
    media, _, parameters = (request.content_type or "").partition(";")
    demand(media == "application/json", "the body's type is not JSON")
    demand(parameters.strip().lower() in ("", "charset=utf-8"), "the body's charset is not UTF-8")
    check_body(method, path, request.json())


def check_if_match(method, if_match):
    """A PATCH without one could revive what was deleted; the others have no use for it."""
    name = method["id"].removeprefix("calendar.events.")
    demand(if_match is None or ETAG.fullmatch(if_match), "If-Match is no strong ETag")
    demand(if_match or name != "patch", "a patch without If-Match")
    demand(if_match is None or name in ("patch", "delete"), "If-Match means nothing here")


def check_query(method, query):
    given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    names = [name for name, _ in given]
    known = {
        name: it for name, it in method.get("parameters", {}).items() if it["location"] == "query"
    }
    for name, value in given:
        parameter = known.get(name, DOCUMENT["parameters"].get(name))
        demand(parameter, f"there is no parameter {name}")
        demand(names.count(name) == 1 or parameter.get("repeated"), f"{name} is said twice")
        check_parameter(name, value, parameter)
        if name == "maxResults":
            demand(int(value) <= MAX_RESULTS[method["id"]], "maxResults is out of its bounds")
        if name == "fields":
            check_fields(value, method["response"])
    for name, parameter in known.items():
        demand(name in names or not parameter.get("required"), f"{name} is missing")
    if "syncToken" in names:
        both = NOT_WITH_SYNC_TOKEN & set(names)
        demand(not both, f"{both} beside syncToken")
    if method["id"] in (
        "calendar.events.insert",
        "calendar.events.patch",
        "calendar.events.delete",
    ):
        demand("sendUpdates" in names, "mail is not turned off")


def check_parameter(name, value, parameter):
    demand(value, f"{name} is empty")
    if parameter["type"] == "integer":
        demand(value.isascii() and value.isdigit(), f"{name} is no number")
        low, high = int(parameter.get("minimum", 0)), int(parameter.get("maximum", 2**31 - 1))
        demand(low <= int(value) <= high, f"{name} is out of its bounds")
    if parameter["type"] == "boolean":
        demand(value in ("true", "false"), f"{name} is neither true nor false")
    if parameter.get("format") == "date-time":
        demand(is_date_time(value), f"{name} is no time")
    demand(value in parameter.get("enum", [value]), f"{name} cannot be {value}")


def check_fields(mask, schema):
    """A partial response: `a,b(c,d/e)`, each a field of the answer."""
    tokens = re.findall(r"\w+|[(),/]", mask)
    demand("".join(tokens) == mask, f"fields is not to be read: {mask}")
    rest = read_fields(tokens, resolved(schema), "fields")
    demand(not rest, f"fields is not to be read: {mask}")


def read_fields(tokens, schema, path):
    """Reads a list of fields, and answers what follows it."""
    while True:
        inner, where = schema, path
        while True:
            demand(tokens and tokens[0].isidentifier(), f"{where}: a name is missing")
            name, tokens = tokens[0], tokens[1:]
            where = f"{where}.{name}"
            known = inner.get("properties", {})
            demand(name in known, f"{where} is not in the document")
            inner = resolved(known[name])
            inner = resolved(inner["items"]) if inner.get("type") == "array" else inner
            if tokens[:1] != ["/"]:
                break
            tokens = tokens[1:]
        if tokens[:1] == ["("]:
            tokens = read_fields(tokens[1:], inner, where)
            demand(tokens[:1] == [")"], f"{where}: a bracket is not closed")
            tokens = tokens[1:]
        if tokens[:1] != [","]:
            return tokens
        tokens = tokens[1:]


def check_body(method, path, body):
    error = next(iter(sorted(VALIDATORS[method["id"]].iter_errors(body), key=str)), None)
    if error is not None:
        raise Refused(f"{error.json_path}: {error.message}")
    if "eventId" in path:
        own = unquote(path["eventId"])
        demand(body.get("id", own) == own, "the id is not the path's")
    demand("id" not in body or "iCalUID" not in body, "only one of id and iCalUID may be said")
    ends = [moment(name, body[name]) for name in ("start", "end") if name in body]
    if len(ends) == 2:
        demand(type(ends[0]) is type(ends[1]), "only one end is a day")
        demand(ends[0] <= ends[1], "it ends before it starts")


def moment(name, said):
    """Either a day, or a time with an offset or a zone."""
    day, time, zone = (said.get(field) for field in ("date", "dateTime", "timeZone"))
    demand((day is None) != (time is None), f"{name}: either a day or a time")
    if zone is not None:
        try:
            zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise Refused(f"{name}: {said['timeZone']} is no zone of IANA's") from error
    if day is not None:
        return datetime.fromisoformat(day).date()
    at = datetime.fromisoformat(time)
    demand(at.tzinfo or zone, f"{name}: neither an offset nor a zone")
    return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()


def judge(requests):
    return [refusal(request) for request in requests]


def refusal(request):
    try:
        check(request)
    except (Refused, ValueError) as error:
        return str(error)
    return None


def private(**values):
    return body(lambda event: event["extendedProperties"]["private"].update(values))


INSERT = "events.insert (sendUpdates)"
PATCH = "events.patch (sendUpdates)"
DELETE = "events.delete (sendUpdates)"
GET = "events.get ()"
LIST = "events.list (fields maxResults)"
CHANGES = "events.list (fields maxResults syncToken)"
PAGE = "events.list (fields maxResults pageToken)"
CALENDARS = "calendarList.list (fields maxResults)"
CALENDARS_PAGE = "calendarList.list (fields maxResults pageToken)"
DEMANDED = [INSERT, PATCH, DELETE, GET, LIST, CHANGES, PAGE, CALENDARS, CALENDARS_PAGE]

CONTROLS = [
    Control("an unknown field", INSERT, fields(sumary="Haircut"), "'sumary'"),
    Control("an unknown field of a field", INSERT, fields(start__zone="UTC"), "$.start"),
    Control("no end", INSERT, fields(end=...), "'end' is a required property"),
    Control("a bad transparency", INSERT, fields(transparency="busy"), "$.transparency"),
    Control("a bad status", INSERT, fields(status="booked"), "$.status"),
    Control("a bad visibility", PATCH, fields(visibility="hidden"), "$.visibility"),
    Control("a letter too high in an id", INSERT, fields(id="bookingw"), "$.id"),
    Control("an id that is too short", INSERT, fields(id="abcd"), "$.id"),
    Control("an id and a UID", INSERT, fields(iCalUID="a@example.com"), "iCalUID"),
    Control("another event's id", PATCH, fields(id="booking0"), "the path's"),
    Control("a sequence in letters", INSERT, fields(sequence="3"), "$.sequence"),
    Control("a summary that is null", INSERT, fields(summary=None), "$.summary"),
    Control("a start that is null", PATCH, fields(start=None), "$.start"),
    Control("a number in a property", INSERT, private(n=1), "$.extendedProperties"),
    Control("a property with a long name", INSERT, private(**{"n" * 45: "1"}), "is too long"),
    Control("a property with a long value", INSERT, private(n="1" * 1025), "is too long"),
    Control("what can only be read", INSERT, fields(created="2026-01-01T00:00:00Z"), "$.created"),
    Control(
        "a time that is none", INSERT, fields(start__dateTime="2026-02-30T09:00:00Z"), "date-time"
    ),
    Control(
        "a year of five digits", INSERT, fields(end__dateTime="+10000-01-01T00:00:00Z"), "date-time"
    ),
    Control(
        "a time of nowhere",
        INSERT,
        fields(start__dateTime="2026-01-01T09:00:00", start__timeZone=...),
        "neither an offset nor a zone",
    ),
    Control("a zone that is none", INSERT, fields(start__timeZone="Europe/Atlantis"), "no zone"),
    Control("a day and a time", PATCH, fields(start__date="2026-01-01"), "either a day or a time"),
    Control(
        "an end before the start",
        INSERT,
        fields(end__dateTime="1999-01-01T09:00:00Z"),
        "ends before",
    ),
    *ill_formed(INSERT, PATCH, "id"),
    Control("no body", INSERT, lambda it: replace(it, body=None), "no body"),
    Control("a body to read by", GET, lambda it: replace(it, body="{}"), "there is a body"),
    Control("nobody's request", GET, lambda it: replace(it, authorization="Basic"), "bearer"),
    Control("any event", DELETE, lambda it: replace(it, if_match="*"), "no strong ETag"),
    Control("a weak ETag", PATCH, lambda it: replace(it, if_match='W/"1"'), "no strong ETag"),
    Control(
        "an unknown path", GET, lambda it: replace(it, path=it.path + "/cancel"), "no such method"
    ),
    Control("a bad id in a path", GET, lambda it: replace(it, path=it.path + "%21"), "eventId"),
    Control("mail to nobody", INSERT, query("sendUpdates=nobody"), "sendUpdates cannot be"),
    Control("mail", DELETE, query(""), "mail is not turned off"),
    Control("an unknown parameter", LIST, query("max=1"), "no parameter max"),
    Control("too long a page", LIST, query("maxResults=2501"), "out of its bounds"),
    Control("too long a page of calendars", CALENDARS, query("maxResults=251"), "out of its"),
    Control("a page of none", LIST, query("maxResults=0"), "out of its bounds"),
    Control("a token and a filter", CHANGES, query("syncToken=a&q=b"), "beside syncToken"),
    Control("a parameter twice", LIST, query("maxResults=1&maxResults=2"), "said twice"),
    Control("an unknown field asked for", LIST, query("fields=items(id,uid)"), "items.uid"),
    Control("fields that end early", LIST, query("fields=items(id"), "not closed"),
]

if __name__ == "__main__":
    assert is_well_read(), "Google's document says enumerations otherwise"
    sys.exit(not verdict(sys.argv[1], "google", kind_of, judge, DEMANDED, CONTROLS))
