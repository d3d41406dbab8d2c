"""Holds every request that our adapter has sent to the emulator of Microsoft Graph against Microsoft's
types, each body a constant that `tsc --strict` has to accept; and by hand what no type says.

graph_requests.py DIRECTORY NODE_MODULES
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from recorded import Control, Refused, body, demand, fields, ill_formed, query, verdict

# What is sent, as Microsoft's types have it; without what can only be read, and with what an event has
# to have. An interface, so that a field too many is an error however deep it stands.
PRELUDE = """\
import type { Calendar, DateTimeTimeZone, Event, SingleValueLegacyExtendedProperty } from "@microsoft/microsoft-graph-types";
type ReadOnly = "id" | "iCalUId" | "changeKey" | "createdDateTime" | "lastModifiedDateTime" | "bodyPreview"
  | "webLink" | "type" | "seriesMasterId" | "isCancelled" | "isOrganizer" | "isDraft" | "organizer"
  | "responseStatus" | "onlineMeeting" | "onlineMeetingUrl" | "originalStart" | "hasAttachments";
interface Moment extends DateTimeTimeZone { dateTime: string; timeZone: string }
interface Property extends SingleValueLegacyExtendedProperty { id: string; value: string }
interface Patch extends Omit<Event, ReadOnly | "transactionId"> { start?: Moment; end?: Moment; singleValueExtendedProperties?: Property[] }
interface Insert extends Omit<Event, ReadOnly> { subject: string; start: Moment; end: Moment; transactionId: string; singleValueExtendedProperties: Property[] }
type Selected = (keyof Event)[];
type SelectedCalendar = (keyof Calendar)[];
"""
OPTIONS = {
    "strict": True,
    "noEmit": True,
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "types": [],
}
COMPILER_MAX_S = 900

PATHS = {
    "calendars": re.compile(r"/v1\.0/(me|users/[^/]+)/calendars"),
    "events": re.compile(r"/v1\.0/(me|users/[^/]+)/calendars/[^/]+/events"),
    "event": re.compile(r"/v1\.0/(me|users/[^/]+)/calendars/[^/]+/events/[^/]+"),
}
METHODS = {"calendars": {"GET"}, "events": {"GET", "POST"}, "event": {"GET", "PATCH", "DELETE"}}
# The query options that go with each; the last are in the links that Graph gives.
QUERIES = {
    "calendars": {"$select", "$top", "$skip", "$skiptoken"},
    "events": {"$filter", "$select", "$expand", "$top", "$skip", "$skiptoken"},
    "event": {"$select", "$expand"},
}
# "The maximum value is 1000."
TOP_MAX = 1000
IMMUTABLE = 'IdType="ImmutableId"'
TEXT_BODIES = 'outlook.body-content-type="text"'
# `dateTimeTimeZone`: a local time, up to seven digits of a second, and never an offset.
LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?")
ETAG = re.compile(r'(W/)?"[!#-~]+"')
# "Extended properties overview": type, property set, name or number; or type and tag.
GUID = r"\{[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}"
TYPES = "(String|Integer|Boolean|Double|Float|Long|Short|Binary|CLSID|Currency|ApplicationTime|SystemTime)"
PROPERTY = rf"{TYPES} ({GUID} (Name [^'/\s]+|Id 0x[0-9a-fA-F]+)|0x[0-9a-fA-F]+)"
FILTER = re.compile(
    rf"singleValueExtendedProperties/Any\(ep: ep/id eq '({PROPERTY})' and ep/value eq '([^']|'')+'\)"
)
EXPAND = re.compile(
    rf"singleValueExtendedProperties\(\$filter=id eq '{PROPERTY}'( or id eq '{PROPERTY}')*\)"
)


def place_of(request):
    return next((name for name, path in PATHS.items() if path.fullmatch(request.path)), None)


def options(request):
    """The query, where a plus is a plus."""
    pairs = [pair.partition("=") for pair in request.query.split("&") if request.query]
    return [(unquote(name), unquote(value, errors="strict")) for name, _, value in pairs]


def kind_of(request):
    place = place_of(request)
    if place is None:
        return f"{request.method} {request.path}"
    names = []
    for name, value in options(request):
        searched = re.search(r" Name (\w+)' and", value) if name == "$filter" else None
        names.append(f"{name}={searched[1]}" if searched else name)
    return f"{request.method} {place} ({' '.join(sorted(names))})"


def check(request):
    place = place_of(request)
    demand(place and request.method in METHODS[place], "there is no such method")
    demand(request.authorization == "Bearer", "there is no bearer token")
    preferred = [each.strip() for value in request.prefer for each in value.split(",")]
    demand(IMMUTABLE in preferred, "ids that may change are not turned off")
    demand(set(preferred) <= {IMMUTABLE, TEXT_BODIES}, "a preference that is not ours")
    demand(request.if_match is None or ETAG.fullmatch(request.if_match), "If-Match is no ETag")
    demand(request.method != "PATCH" or request.if_match, "a patch without If-Match")
    demand(
        request.method in ("PATCH", "DELETE") or not request.if_match, "If-Match means nothing here"
    )
    check_query(place, request)
    if request.method not in ("POST", "PATCH"):
        demand(request.body is None and request.content_type is None, "there is a body")
        return
    demand(request.body is not None, "there is no body")
    demand(request.content_type == "application/json", "the body's type is not JSON")
    check_body(request, request.json())


def check_query(place, request):
    given = options(request)
    names = [name for name, _ in given]
    demand(request.method == "GET" or not names, "there is a query")
    demand("+" not in request.query, "a plus in a query is no blank")
    for name, value in given:
        demand(name in QUERIES[place], f"there is no option {name}")
        demand(names.count(name) == 1, f"{name} is said twice")
        demand(value, f"{name} is empty")
        if name in ("$top", "$skip"):
            demand(value.isascii() and value.isdigit(), f"{name} is no number")
            demand(name == "$skip" or 1 <= int(value) <= TOP_MAX, f"{name} is out of its bounds")
        if name == "$filter":
            demand(FILTER.fullmatch(value), f"$filter is not to be read: {value}")
        if name == "$expand":
            demand(EXPAND.fullmatch(value), f"$expand is not to be read: {value}")


def check_body(request, event):
    demand(isinstance(event, dict), "the body is no object")
    demand(
        request.method == "POST" or "transactionId" not in event, "transactionId cannot be changed"
    )
    demand(request.method != "POST" or event.get("transactionId"), "transactionId is missing")
    ends = [moment(name, event[name]) for name in ("start", "end") if name in event]
    demand(len(ends) < 2 or ends[0] <= ends[1], "it ends before it starts")
    ids = [it.get("id") for it in event.get("singleValueExtendedProperties", [])]
    for name in ids:
        demand(re.fullmatch(PROPERTY, str(name)), f"{name} is no property's id")
    demand(len(set(ids)) == len(ids), "a property is said twice")
    if request.method == "POST":
        demand(ids, "there is no property to find it by")


def moment(name, said):
    demand(isinstance(said, dict), f"{name} is no time")
    time, zone = str(said.get("dateTime")), str(said.get("timeZone"))
    demand(LOCAL.fullmatch(time), f"{name}: {time} is no local time")
    try:
        return datetime.fromisoformat(time[:26]).replace(tzinfo=ZoneInfo(zone)).timestamp()
    except (KeyError, ValueError, OSError) as error:
        raise Refused(f"{name}: {time} {zone}: {error}") from error


def judge(requests):
    """By hand, and of what passes so, by type."""
    refusals = [refusal(request) for request in requests]
    constants, owners = [], []
    for number, request in enumerate(requests):
        if refusals[number] is None:
            made = typed(request)
            constants += made
            owners += [number] * len(made)
    for at, error in compile_all(constants).items():
        refusals[owners[at]] = error
    return refusals


def refusal(request):
    try:
        check(request)
    except (Refused, ValueError) as error:
        return str(error)
    return None


def typed(request):
    """Type and value of what there is to compile in a request."""
    selected = "SelectedCalendar" if place_of(request) == "calendars" else "Selected"
    made = [(selected, value.split(",")) for name, value in options(request) if name == "$select"]
    if request.body is not None:
        made.append(("Insert" if request.method == "POST" else "Patch", request.json()))
    return made


def compile_all(constants):
    """The errors of these constants, by their place: each stands on a line of its own."""
    before = PRELUDE.count("\n")
    # A line separator within a text would count as a line: all but ASCII is escaped.
    lines = (
        f"export const _{at}: {kind} = {json.dumps(value)};"
        for at, (kind, value) in enumerate(constants)
    )
    with tempfile.TemporaryDirectory() as folder:
        types = f"{MODULES}/@microsoft/microsoft-graph-types/microsoft-graph.d.ts"
        paths = {"@microsoft/microsoft-graph-types": [types]}
        settings = {"compilerOptions": OPTIONS | {"paths": paths}, "files": ["requests.ts"]}
        Path(folder, "tsconfig.json").write_text(json.dumps(settings), encoding="ascii")
        Path(folder, "requests.ts").write_text(PRELUDE + "\n".join(lines) + "\n", encoding="ascii")
        command = [
            "node",
            f"{MODULES}/typescript/bin/tsc",
            "--pretty",
            "false",
            "--project",
            folder,
        ]
        run = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, timeout=COMPILER_MAX_S
        )
    found = {}
    for place, line, error in re.findall(
        r"^(.*)\((\d+),\d+\): error (.*)$", run.stdout, re.MULTILINE
    ):
        at = int(line) - before - 1
        assert place == "requests.ts" and at >= 0, f"{place}({line}): {error}"
        found.setdefault(at, error)
    assert (run.returncode != 0) == bool(found), f"{run.stdout}{run.stderr}"
    return found


def first_property(**values):
    return body(lambda event: event["singleValueExtendedProperties"][0].update(values))


POST = "POST events ()"
PATCH = "PATCH event ()"
DELETE = "DELETE event ()"
GET = "GET event ($expand $select)"
BY_NAME = "GET events ($expand $filter=bookingName $select $top)"
LIST = "GET events ($expand $filter=bookingConnection $select $top)"
CALENDARS = "GET calendars ($select $top)"
CALENDARS_PAGE = "GET calendars ($select $skip $top)"
DEMANDED = [POST, PATCH, DELETE, GET, BY_NAME, LIST, CALENDARS, CALENDARS_PAGE]

CONTROLS = [
    Control("an unknown field", POST, fields(summary="Haircut"), "TS2353"),
    Control("an unknown field of a field", PATCH, fields(location__name="here"), "TS2353"),
    Control("an unknown field of a time", POST, fields(start__offset="+01:00"), "TS2353"),
    Control("an unknown field of a property", POST, first_property(name="n"), "TS2353"),
    Control("a bad showAs", POST, fields(showAs="opaque"), "TS2322"),
    Control("a bad type of text", PATCH, fields(body__contentType="markdown"), "TS2322"),
    Control("a subject that is a number", PATCH, fields(subject=3), "TS2322"),
    Control("a word for yes", POST, fields(isAllDay="false"), "TS2322"),
    Control("a property that is a number", POST, first_property(value=3), "TS2322"),
    Control("no subject", POST, fields(subject=...), "TS2741"),
    Control("no end", POST, fields(end=...), "TS2741"),
    Control("what can only be read", PATCH, fields(iCalUId="a"), "TS2353"),
    Control("a transactionId in a patch", PATCH, fields(transactionId="a"), "cannot be changed"),
    Control("no transactionId", POST, fields(transactionId=...), "transactionId is missing"),
    Control(
        "a time with an offset",
        POST,
        fields(start__dateTime="2026-01-01T09:00:00+01:00"),
        "no local time",
    ),
    Control("a time in UTC", PATCH, fields(end__dateTime="2026-01-01T09:00:00Z"), "no local time"),
    Control(
        "a day that is none", POST, fields(start__dateTime="2026-02-30T09:00:00"), "out of range"
    ),
    Control("no zone", POST, fields(start__timeZone=...), "No time zone found"),
    Control(
        "a zone that is none", POST, fields(start__timeZone="Europe/Atlantis"), "No time zone found"
    ),
    Control(
        "an end before the start", PATCH, fields(end__dateTime="1999-01-01T09:00:00"), "ends before"
    ),
    Control(
        "a property without its set",
        POST,
        first_property(id="String Name bookingName"),
        "no property's id",
    ),
    Control("a property of no type", POST, first_property(id="Text 0x0037"), "no property's id"),
    Control("no property", POST, fields(singleValueExtendedProperties=[]), "to find it by"),
    *ill_formed(POST, PATCH, "subject"),
    Control("no body", PATCH, lambda it: replace(it, body=None), "no body"),
    Control("a body to delete by", DELETE, lambda it: replace(it, body="{}"), "there is a body"),
    Control("nobody's request", GET, lambda it: replace(it, authorization=None), "bearer"),
    Control("ids that change", DELETE, lambda it: replace(it, prefer=()), "ids that may change"),
    Control(
        "ids that change in a search",
        BY_NAME,
        lambda it: replace(it, prefer=("IdType=1",)),
        "ids that",
    ),
    Control("any event", DELETE, lambda it: replace(it, if_match="*"), "no ETag"),
    Control(
        "a condition to post by", POST, lambda it: replace(it, if_match='W/"1"'), "means nothing"
    ),
    Control(
        "a path in beta",
        GET,
        lambda it: replace(it, path=it.path.replace("v1.0", "beta")),
        "no such method",
    ),
    Control("a replacement", PATCH, lambda it: replace(it, method="PUT"), "no such method"),
    Control("an unknown field asked for", GET, query("$select=id,uid"), "TS2322"),
    Control("an unknown field of a calendar", CALENDARS, query("$select=id,title"), "TS2322"),
    Control("an unknown option", LIST, query("$fields=id"), "no option $fields"),
    Control("a blank that is a plus", LIST, query("$filter=a+eq+b"), "no blank"),
    Control(
        "a filter with an open quote",
        BY_NAME,
        lambda it: replace(it, query=it.query.replace("%27%29", "%29")),
        "$filter",
    ),
    Control("too long a page", LIST, query("$top=1001"), "out of its bounds"),
    Control("all properties", GET, query("$expand=singleValueExtendedProperties"), "$expand"),
]

if __name__ == "__main__":
    MODULES = sys.argv[2]
    sys.exit(not verdict(sys.argv[1], "microsoft", kind_of, judge, DEMANDED, CONTROLS))
