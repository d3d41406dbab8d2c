"""Works with the emulator through Microsoft's own client, and checks that its models know every
field of each answer: what they do not know is left in `additional_data`.

graph_client.py BASE_URL TOKEN CALENDAR
"""

import asyncio
import sys
from dataclasses import fields

from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_abstractions.serialization import Parsable
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.attendee import Attendee
from msgraph.generated.models.body_type import BodyType
from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
from msgraph.generated.models.email_address import EmailAddress
from msgraph.generated.models.event import Event
from msgraph.generated.models.event_type import EventType
from msgraph.generated.models.free_busy_status import FreeBusyStatus
from msgraph.generated.models.importance import Importance
from msgraph.generated.models.item_body import ItemBody
from msgraph.generated.models.location import Location
from msgraph.generated.models.location_type import LocationType
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.response_type import ResponseType
from msgraph.generated.models.sensitivity import Sensitivity
from msgraph.generated.models.single_value_legacy_extended_property import (
    SingleValueLegacyExtendedProperty,
)
from msgraph.generated.users.item.calendars.calendars_request_builder import (
    CalendarsRequestBuilder,
)
from msgraph.generated.users.item.calendars.item.calendar_view.delta.delta_request_builder import (
    DeltaRequestBuilder,
)
from msgraph.generated.users.item.calendars.item.events.events_request_builder import (
    EventsRequestBuilder,
)
from msgraph.generated.users.item.events.item.event_item_request_builder import (
    EventItemRequestBuilder,
)

BASE_URL, TOKEN, CALENDAR = sys.argv[1:]
MARKER = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name bookingMarker"
EXPAND = [f"singleValueExtendedProperties($filter=id eq '{MARKER}')"]
# What the models leave to `additional_data` of every resource.
ANNOTATIONS = {"@odata.context", "@odata.etag"}


def check(model, path, allowed=frozenset()):
    """Every field of an answer is known to its model."""
    unknown = set(model.additional_data) - ANNOTATIONS - allowed
    assert not unknown, f"{path} has {unknown}"
    for field in fields(model):
        name, value = field.name, getattr(model, field.name)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Parsable):
                check(item, f"{path}.{name}[{index}]", allowed)
    return model


def configuration(etag=None, parameters=None):
    made = RequestConfiguration(query_parameters=parameters)
    made.headers.add("Authorization", f"Bearer {TOKEN}")
    made.headers.add("Prefer", 'IdType="ImmutableId"')
    made.headers.add("Prefer", "odata.maxpagesize=2")
    if etag:
        made.headers.add("If-Match", etag)
    return made


async def refused(status, code, call):
    try:
        await call
    except ODataError as error:
        assert error.response_status_code == status, error
        assert error.error.code == code, error.error.code
        assert error.error.inner_error.request_id, error
        assert not error.error.additional_data, error.error.additional_data
        return
    raise AssertionError(f"expected {status} {code}")


def event(number):
    return Event(
        subject=f"Haircut {number}",
        body=ItemBody(content_type=BodyType.Text, content="bring the dog"),
        start=DateTimeTimeZone(date_time="2026-11-23T09:00:00", time_zone="Europe/Paris"),
        end=DateTimeTimeZone(date_time="2026-11-23T10:00:00", time_zone="Europe/Paris"),
        location=Location(display_name="Main Street 1"),
        attendees=[Attendee(email_address=EmailAddress(address="eve@example.com"))],
        show_as=FreeBusyStatus.Busy,
        transaction_id=f"t-{number}",
        single_value_extended_properties=[
            SingleValueLegacyExtendedProperty(id=MARKER, value=f"b-{number}")
        ],
    )


def check_first(made):
    """What a wrong word or type would have made None."""
    check(made, "event")
    assert made.show_as is FreeBusyStatus.Busy
    assert made.importance is Importance.Normal and made.sensitivity is Sensitivity.Normal
    assert made.type is EventType.SingleInstance
    assert made.body.content_type is BodyType.Html and "bring the dog" in made.body.content
    assert made.location.location_type is LocationType.Default
    assert made.response_status.response is ResponseType.Organizer
    assert made.attendees[0].status.response is ResponseType.None_
    assert made.start.date_time == "2026-11-23T08:00:00.0000000" and made.start.time_zone == "UTC"
    for name in "id change_key created_date_time last_modified_date_time i_cal_u_id web_link".split():
        assert getattr(made, name) is not None, name
    assert made.body_preview == "bring the dog" and made.transaction_id == "t-0"
    assert made.is_all_day is False and made.is_reminder_on is True
    assert made.reminder_minutes_before_start == 15


async def main():
    adapter = GraphRequestAdapter(AnonymousAuthenticationProvider())
    adapter.base_url = BASE_URL
    graph = GraphServiceClient(request_adapter=adapter)
    calendar = graph.me.calendars.by_calendar_id(CALENDAR)
    events = calendar.events

    check(await graph.me.get(configuration()), "user")
    calendars = check(await graph.me.calendars.get(configuration()), "calendars")
    assert len(calendars.value) == 2
    Page = CalendarsRequestBuilder.CalendarsRequestBuilderGetQueryParameters
    by_one = check(await graph.me.calendars.get(configuration(parameters=Page(top=1))), "calendars")
    rest = await graph.me.calendars.with_url(by_one.odata_next_link).get(configuration())
    ids = [it.id for it in by_one.value + check(rest, "calendars").value]
    assert ids == [it.id for it in calendars.value] and rest.odata_next_link is None
    own = check(await calendar.get(configuration()), "calendar")
    assert own.id == CALENDAR and own.owner.address and own.color is not None
    assert check(await graph.me.calendar.get(configuration()), "calendar").is_default_calendar

    made = await events.post(event(0), configuration())
    check_first(made)
    assert (await events.post(event(0), configuration())).id == made.id
    other = event(0)
    other.subject = "Other"
    await refused(400, "ErrorDuplicateTransactionId", events.post(other, configuration()))
    await events.post(event(1), configuration())
    await events.post(event(2), configuration())

    item = graph.me.events.by_event_id(made.id)
    chosen = EventItemRequestBuilder.EventItemRequestBuilderGetQueryParameters(expand=EXPAND)
    read = check(await item.get(configuration(parameters=chosen)), "event")
    assert [it.value for it in read.single_value_extended_properties] == ["b-0"]
    etag = read.additional_data["@odata.etag"]
    assert read.change_key in etag

    await refused(
        400, "ErrorInvalidRequest", item.patch(Event(transaction_id="t-0"), configuration())
    )
    later = await item.patch(Event(subject="Haircut, long"), configuration(etag))
    assert check(later, "event").subject == "Haircut, long"
    await refused(
        412, "ErrorIrresolvableConflict", item.patch(Event(subject="x"), configuration(etag))
    )
    await refused(412, "ErrorIrresolvableConflict", item.delete(configuration(etag)))

    Query = EventsRequestBuilder.EventsRequestBuilderGetQueryParameters
    by_marker = Query(
        expand=EXPAND,
        filter="singleValueExtendedProperties/Any(ep: ep/id eq "
        f"'{MARKER}' and ep/value eq 'B-0')",
    )
    found = check(await events.get(configuration(parameters=by_marker)), "list")
    assert [it.id for it in found.value] == [made.id]
    assert found.value[0].single_value_extended_properties[0].id == MARKER

    page = check(await events.get(configuration(parameters=Query(top=2))), "list")
    subjects = [it.subject for it in page.value]
    while page.odata_next_link:
        page = check(await events.with_url(page.odata_next_link).get(configuration()), "list")
        subjects += [it.subject for it in page.value]
    assert sorted(subjects) == ["Haircut 1", "Haircut 2", "Haircut, long"], subjects

    window = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(
        start_date_time="2026-11-01T00:00:00Z", end_date_time="2026-12-01T00:00:00Z"
    )
    delta = calendar.calendar_view.delta
    seen, link = await follow(delta, await delta.get(configuration(parameters=window)))
    assert len(seen) == 3

    fresh = later.additional_data["@odata.etag"]
    assert await item.delete(configuration(fresh)) is None
    await refused(404, "ErrorItemNotFound", item.delete(configuration()))
    await refused(404, "ErrorItemNotFound", item.get(configuration()))
    seen, _ = await follow(delta, await delta.with_url(link).get(configuration()))
    assert [it.id for it in seen] == [made.id]
    assert "@removed" in seen[0].additional_data
    for left in (await events.get(configuration())).value:
        await events.by_event_id(left.id).delete(configuration())


async def follow(delta, page):
    """All entries of a round, and the link for the next one."""
    seen = []
    while True:
        check(page, "delta", {"@removed"})
        seen += page.value
        if page.odata_delta_link:
            return seen, page.odata_delta_link
        page = await delta.with_url(page.odata_next_link).get(configuration())


asyncio.run(main())
