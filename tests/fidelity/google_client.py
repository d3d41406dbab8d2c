"""Works with the emulator through Google's own client, and checks each answer against Google's
discovery document, which the client brings along.

google_client.py BASE_URL TOKEN CALENDAR
"""

import sys

from google.auth.credentials import AnonymousCredentials
from googleapiclient import discovery_cache
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

import json
from importlib.resources import files

DOCUMENT = json.loads(
    (files(discovery_cache) / "documents" / "calendar.v3.json").read_text(encoding="utf-8")
)
TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}


def check(value, schema, path):
    """Every field of an answer is in the document, and of its type."""
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "any":
        return
    assert isinstance(value, TYPES[kind]), f"{path}: {value!r} is not of type {kind}"
    if kind == "array":
        for index, item in enumerate(value):
            check(item, schema["items"], f"{path}[{index}]")
    if kind == "object":
        known = schema.get("properties", {})
        for name, item in value.items():
            field = known.get(name, schema.get("additionalProperties"))
            assert field is not None, f"{path}.{name} is not in the document"
            check(item, field, f"{path}.{name}")


def run(request, schema, etag=None):
    request.headers["Authorization"] = f"Bearer {TOKEN}"
    if etag:
        request.headers["If-Match"] = etag
    answer = request.execute()
    if schema:
        check(answer, {"$ref": schema}, schema)
    return answer


def refused(status, reason, request, etag=None):
    try:
        run(request, None, etag)
    except HttpError as error:
        assert error.status_code == status, error
        assert error.error_details[0]["reason"] == reason, error.error_details
        return
    raise AssertionError(f"expected {status} {reason}")


BASE_URL, TOKEN, CALENDAR = sys.argv[1:]
EVENT = {
    "id": "booking0001",
    "summary": "Haircut",
    "start": {"dateTime": "2026-11-23T09:00:00+01:00", "timeZone": "Europe/Paris"},
    "end": {"dateTime": "2026-11-23T10:00:00+01:00", "timeZone": "Europe/Paris"},
    "extendedProperties": {"private": {"bookingUid": "b-1@example.com"}},
}
ID = EVENT["id"]

calendar = build(
    "calendar",
    "v3",
    credentials=AnonymousCredentials(),
    static_discovery=True,
    client_options={"api_endpoint": f"{BASE_URL}/"},
)
events = calendar.events()
at = {"calendarId": CALENDAR, "eventId": ID}

run(calendar.calendars().get(calendarId=CALENDAR), "Calendar")
lists, ids = calendar.calendarList(), []
page = lists.list(maxResults=1)
while page is not None:
    answer = run(page, "CalendarList")
    ids += [item["id"] for item in answer["items"]]
    page = lists.list_next(page, answer)
assert len(ids) == 2 and CALENDAR in ids
made = run(events.insert(calendarId=CALENDAR, body=EVENT, sendUpdates="none"), "Event")
refused(409, "duplicate", events.insert(calendarId=CALENDAR, body=EVENT))
assert run(events.get(**at), "Event") == made

# What was read can be sent back whole.
later = dict(made, summary="Haircut, long")
updated = run(events.update(**at, body=later), "Event", made["etag"])
assert updated["summary"] == "Haircut, long" and updated["etag"] != made["etag"]
patch = {"colorId": "7", "extendedProperties": {"private": {"bookingRevision": "1"}}}
refused(412, "conditionNotMet", events.patch(**at, body=patch), made["etag"])
patched = run(events.patch(**at, body=patch), "Event", updated["etag"])
assert patched["extendedProperties"]["private"]["bookingUid"] == "b-1@example.com"

listing = {"calendarId": CALENDAR, "privateExtendedProperty": ["bookingUid=b-1@example.com"]}
found = run(events.list(**listing, maxResults=1), "Events")
assert [item["id"] for item in found["items"]] == [ID]
everything = run(events.list(calendarId=CALENDAR), "Events")
assert run(events.delete(**at, sendUpdates="none"), None, patched["etag"]) == ""
refused(410, "deleted", events.delete(**at))
assert run(events.get(**at), "Event")["status"] == "cancelled"
delta = run(events.list(calendarId=CALENDAR, syncToken=everything["nextSyncToken"]), "Events")
assert [item["status"] for item in delta["items"]] == ["cancelled"]
refused(404, "notFound", events.get(calendarId=CALENDAR, eventId="booking0002"))
