"""Reads a calendar through a CalDAV client that we did not write, and holds each event against what
was meant, field by field.

caldav_client.py < expected.json

{"url": …, "user": …, "password": …, "events": [{"uid": …, "summary": …, "start": …, …}]}
"""

import json
import sys
from datetime import datetime, timedelta, timezone

import caldav

EXPECTED = json.load(sys.stdin)
TEXTS = {
    "summary": "SUMMARY",
    "description": "DESCRIPTION",
    "location": "LOCATION",
    "status": "STATUS",
    "transp": "TRANSP",
    "connection": "X-BOOKING-CONNECTION",
    "revision": "X-BOOKING-REVISION",
    "digest": "X-BOOKING-DIGEST",
    "utc_zone": "X-BOOKING-TZID",
}
# What would make a server send mail, or an event of another kind.
NEVER = ["ORGANIZER", "ATTENDEE", "METHOD", "RRULE", "DURATION", "RECURRENCE-ID"]


def agree(uid, field, read, meant):
    assert read == meant, f"{uid}: {field} is {read!r}, and {meant!r} was meant"


def check_time(uid, event, name, meant, zone):
    """The moment, and the zone in which it was said."""
    read = event[name].dt
    agree(uid, f"{name} (moment)", read.astimezone(timezone.utc), datetime.fromisoformat(meant))
    agree(uid, f"{name} (zone)", event[name].params.get("TZID"), zone)
    if zone is None:
        agree(uid, f"{name} (offset)", read.utcoffset(), timedelta(0))


def check(resource, meant):
    uid = meant["uid"]
    calendar = resource.icalendar_instance
    agree(uid, "METHOD", calendar.get("METHOD"), None)
    events = calendar.walk("VEVENT")
    agree(uid, "number of events", len(events), 1)
    event = events[0]
    for field, name in TEXTS.items():
        read = event.get(name)
        agree(uid, name, None if read is None else str(read), meant[field])
    agree(uid, "SEQUENCE", int(event["SEQUENCE"]), meant["sequence"])
    check_time(uid, event, "DTSTART", meant["start"], meant["zone"])
    check_time(uid, event, "DTEND", meant["end"], meant["zone"])
    for name in NEVER:
        agree(uid, name, event.get(name), None)
    zones = [str(zone["TZID"]) for zone in calendar.walk("VTIMEZONE")]
    agree(uid, "VTIMEZONE", zones, [] if meant["zone"] is None else [meant["zone"]])
    agree(uid, "href", str(resource.url).rsplit("/", 1)[1], meant["href"])


def check_search(calendar, meant):
    """The server finds it by its time: it reads our times and zones as we do."""
    start, end = (datetime.fromisoformat(meant[name]) for name in ("start", "end"))
    found = calendar.search(event=True, expand=False, start=start, end=end)
    uids = [str(resource.icalendar_component["UID"]) for resource in found]
    assert meant["uid"] in uids, f"{meant['uid']} is not found by its time, but {uids}"


client = caldav.DAVClient(
    url=EXPECTED["url"], username=EXPECTED["user"], password=EXPECTED["password"]
)
calendar = client.calendar(url=EXPECTED["url"])
found = {}
for resource in calendar.events():
    resource.load()
    found[str(resource.icalendar_component["UID"])] = resource
assert sorted(found) == sorted(event["uid"] for event in EXPECTED["events"]), sorted(found)
for event in EXPECTED["events"]:
    check(found[event["uid"]], event)
    check_search(calendar, event)
print(len(found))
