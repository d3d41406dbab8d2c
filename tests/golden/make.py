#!/usr/bin/env python3
"""Writes the golden records: bytes that other people's encoders make of the contract.

    make.py            writes v1/*.bin and v1/index.json beside this file
    make.py --check    writes nothing; fails if the kept files are not what would be written

Needs PyPI's fastavro and confluent-kafka[avro,schemaregistry]. Nothing of ours encodes here: the
single-object records are fastavro's, the registry's are confluent_kafka's AvroSerializer's with
a mock of the registry. A released file never changes: new cases get new names, and a new version
of the contract a new directory.
"""

import copy
import datetime
import io
import json
import pathlib
import sys
import uuid

import fastavro
import fastavro.schema
from confluent_kafka.schema_registry import (
    RegisteredSchema,
    Schema,
    header_schema_id_serializer,
    prefix_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

HERE = pathlib.Path(__file__).parent
OURS = HERE.parent.parent / "schemas"
TOPIC = "booking.events"
NAMESPACE = uuid.UUID("6f0f1f55-5f0c-4a7e-9d29-8d2f0c3b7c11")

EVENT = {
    "event_id": "0190a5d8-7c3b-7e52-9b1f-2f3f5a6b7c8d",
    "booking_id": "bk-2041",
    "provider_id": "5b1f6c1e-0c7c-4a53-9a6e-0d5f6a3f9f10",
    "occurred_at": 1_767_258_061_123,  # 2026-01-01T09:01:01.123Z
}
HEAD = {"ical_uid": "visit-2041@clinic.example", "sequence": 7}
WHOLE = {
    "start_time": 1_774_751_400_000,  # 2026-03-29T02:30Z, the morning of a change of clocks
    "end_time": 1_774_755_000_000,
    "service_name": "Physiotherapy, 60 min",
}
OPTIONAL = {
    "status": "PENDING",
    "time_zone": "Europe/Berlin",
    "title": "Knee, second visit",
    "description": "Bring the X-rays.\nRing twice.",
    "location": "Room 3, Hauptstr. 5",
    "notes": "prefers the morning",
    "customer_name": "Ada Nwosu",
    "customer_email": "ada@example.org",
}
LETTERS = {
    "service_name": "Massage \u2013 R\u00fccken",
    "title": "\u6574\u4f53 60\u5206 \U0001f486\u200d\u2640\ufe0f",
    "description": "\u0645\u0648\u0639\u062f\r\n\te\u0301 \u2029 \ufeff",
    "location": "\u041c\u043e\u0441\u043a\u0432\u0430",
    "customer_name": "Zo\u00eb \u0141ukasi\u0144ski",
    "time_zone": "America/Argentina/Buenos_Aires",
}


def ours(kind):
    return json.loads((OURS / f"{kind}.avsc").read_text(encoding="utf-8"))


def without(schema, *names):
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in names]
    return schema


def field(schema, name):
    return next(field for field in schema["fields"] if field["name"] == name)


def retyped(schema, name, avro_type):
    field(schema, name)["type"] = avro_type
    field(schema, name).pop("default", None)
    return schema


def older(kind):
    """A producer of before the optional fields."""
    return without(
        ours(kind), "ical_uid", "sequence", "status", "time_zone", "title", "description",
        "location", "notes", "customer_name", "customer_email",
    )


def newer(kind):
    """More fields, of types that we have nowhere, between ours; and one more status, unused."""
    schema = ours(kind)
    field(schema, "status")["type"]["symbols"].insert(0, "WAITLISTED")
    schema["fields"][3:3] = [
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "attributes", "type": {"type": "map", "values": ["null", "double"]}, "default": {}},
    ]
    schema["fields"].append({
        "name": "resource",
        "type": ["null", {"type": "record", "name": "Resource", "fields": [
            {"name": "id", "type": {"type": "fixed", "name": "ResourceId", "size": 4}},
            {"name": "shared", "type": "boolean"},
        ]}],
        "default": None,
    })
    return schema


def narrower(kind):
    """int for long, string for nullable, plain long for a time, bytes for a string, reordered."""
    schema = ours(kind)
    retyped(schema, "sequence", "int")
    retyped(schema, "occurred_at", "long")
    retyped(schema, "title", "string")
    retyped(schema, "service_name", "bytes")
    schema["fields"].reverse()
    return schema


def undocumented(kind):
    """Ours as a producer's tools might print it: without docs, UUIDs and defaults."""
    schema = ours(kind)
    for each in schema["fields"]:
        each.pop("doc", None)
        each.pop("default", None)
        if each["type"] == {"type": "string", "logicalType": "uuid"}:
            each["type"] = "string"
    return schema


def nullable(kind):
    """Unions the other way round, and one where we have none."""
    schema = ours(kind)
    for each in schema["fields"]:
        if each["type"] == ["null", "string"]:
            each["type"] = ["string", "null"]
            each.pop("default", None)
    return retyped(schema, "time_zone", ["null", "string"])


def renamed(kind):
    """Another name for the record, with ours as an alias."""
    schema = ours(kind)
    schema["namespace"] = "com.example.bookings"
    schema["aliases"] = [f"booking.events.v1.{kind}"]
    return schema


def datum(schema, value):
    """fastavro's bytes. A number goes into a time as it is: fastavro converts datetimes only."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), value)
    return out.getvalue()


def canonical_fingerprint(schema):
    canonical = fastavro.schema.to_parsing_canonical_form(copy.deepcopy(schema))
    return fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")


def single_object(schema, value):
    fingerprint = bytes.fromhex(canonical_fingerprint(schema))
    return b"\xc3\x01" + fingerprint + datum(schema, value), None


class Registry:
    """As much of a Schema Registry's client as the serializer asks for."""

    def __init__(self, schema_id, guid):
        self.schema_id = schema_id
        self.guid = guid

    def config(self):
        return {}

    def register_schema_full_response(self, subject, schema, normalize_schemas=False):
        del normalize_schemas
        return RegisteredSchema(
            schema_id=self.schema_id, guid=self.guid, subject=subject, version=1, schema=schema
        )


def registry(serializer, schema_id):
    def encode(schema, value):
        text = json.dumps(schema)
        guid = str(uuid.uuid5(NAMESPACE, text))
        conf = {
            "schema.id.serializer": serializer,
            "subject.name.strategy": lambda context, name: f"{TOPIC}-{name}",
        }
        encoder = AvroSerializer(Registry(schema_id, guid), Schema(text, "AVRO"), conf=conf)
        headers = []
        context = SerializationContext(TOPIC, MessageField.VALUE, headers)
        payload = encoder(value, context)
        return payload, dict(headers).get("__value_schema_id")

    return encode


prefix = registry(prefix_schema_id_serializer, 70_000)
header = registry(header_schema_id_serializer, 70_001)


def whole(**changes):
    return {**EVENT, **WHOLE, **changes}


def every(**changes):
    return {**EVENT, **HEAD, **WHOLE, **OPTIONAL, **changes}


def refusals():
    """Well-formed records that break the contract, or whose schema does not lead to ours."""
    created, updated = "BookingCreated", "BookingUpdated"

    def single(name, reason, **changes):
        return f"refused-{name}", reason, created, single_object, ours(created), every(**changes)

    def other(name, reason, schema, **changes):
        return f"refused-{name}", reason, updated, prefix, schema, every(**changes)

    backwards = {"end_time": WHOLE["start_time"]}
    yield single("end-at-start", "invalid: end_time: it is not after start_time", **backwards)
    yield single("zone", 'invalid: time_zone: "Mars/Olympus" is not a zone that we know',
                 time_zone="Mars/Olympus")
    yield single("nul", "invalid: title: it has a U+0000", title="a\0b")
    yield single("sequence", "invalid: sequence: it is negative", sequence=-1)
    yield single("booking-id", "invalid: booking_id: it is empty", booking_id="")
    yield single("uid", "invalid: ical_uid: it has a character that is not visible ASCII",
                 ical_uid="a b@example.org")
    yield single("year", "invalid: end_time: it is not between the years 1970 and 9999",
                 end_time=253_402_300_800_000)
    yield single("title", "too_large: title: 1001 characters, and 1000 are accepted",
                 title="\u00fc" * 1001)
    yield single("notes", "too_large: notes: 65537 bytes, and 65536 are accepted",
                 notes="n" * 65_537)
    strings = retyped(ours(updated), "event_id", "string")
    yield other("uuid", "invalid: event_id: it is not a UUID", strings, event_id="one")
    yield other("symbol", "invalid: status: a symbol that is not known here", newer(updated),
                status="WAITLISTED", tags=[], attributes={}, resource=None)
    yield other("null", "invalid: time_zone: its value does not fit", nullable(updated),
                time_zone=None)
    micros = {"type": "long", "logicalType": "timestamp-micros"}
    yield other("micros",
                "incompatible_schema: start_time: TimestampMicros cannot be read as "
                "TimestampMillis", retyped(ours(updated), "start_time", micros))
    yield other("missing", "incompatible_schema: end_time: the writer's schema has none",
                without(ours(updated), "end_time"))
    stranger = {**ours(updated), "name": "BookingArchived"}
    yield other("stranger",
                "incompatible_schema: the writer's schema has the name of none of our records",
                stranger)
    yield ("refused-fingerprint", "unknown_schema: no bundled schema has the fingerprint "
           + canonical_fingerprint(older(created)), created, single_object, older(created),
           whole())


def cases():
    created, updated, cancelled = "BookingCreated", "BookingUpdated", "BookingCancelled"
    for framing, encode in [("single", single_object), ("prefix", prefix), ("header", header)]:
        for kind in [created, updated]:
            # status and time_zone as fastavro fills them in from the schema's defaults.
            yield f"{framing}-{kind}-least", kind, encode, ours(kind), whole()
            yield f"{framing}-{kind}-all", kind, encode, ours(kind), every()
        yield f"{framing}-{cancelled}-least", cancelled, encode, ours(cancelled), EVENT
        everything = {**EVENT, **HEAD, "reason": "ill \u2013 \u98a8\u90aa"}
        yield f"{framing}-{cancelled}-all", cancelled, encode, ours(cancelled), everything
        yield f"{framing}-{updated}-letters", updated, encode, ours(updated), every(**LETTERS)
    for status in ["PENDING", "CONFIRMED", "COMPLETED", "NO_SHOW"]:
        yield f"single-status-{status}", updated, single_object, ours(updated), whole(status=status)
    edges = every(sequence=2**63 - 1, title="", occurred_at=0, end_time=253_402_300_799_999)
    yield "single-edges", created, single_object, ours(created), edges
    for kind in [created, updated]:
        yield f"prefix-{kind}-older", kind, prefix, older(kind), whole()
        more = {"tags": ["a", "\u00fc"], "attributes": {"x": 1.5, "y": None},
                "resource": {"id": b"\x00\x01\xfe\xff", "shared": True}}
        yield f"prefix-{kind}-newer", kind, prefix, newer(kind), every(**more)
        yield f"header-{kind}-newer-least", kind, header, newer(kind), whole(status="NO_SHOW")
    narrow = every(service_name="R\u00fccken".encode())
    yield "prefix-narrower", updated, prefix, narrower(updated), narrow
    yield "prefix-undocumented", created, prefix, undocumented(created), every()
    yield "prefix-nullable", created, prefix, nullable(created), every(notes=None)
    yield "prefix-renamed", cancelled, prefix, renamed(cancelled), {**EVENT, **HEAD, "reason": None}


def expected(kind, value):
    """What a reader of ours must find, in the schemas' names, times in RFC 3339."""
    found = {"type": kind}
    for each in ours(kind)["fields"]:
        name = each["name"]
        given = value.get(name, each.get("default"))
        if isinstance(given, bytes):
            given = given.decode()
        if "logicalType" in each["type"] and each["type"]["logicalType"] == "timestamp-millis":
            epoch = datetime.datetime(1970, 1, 1)
            moment = epoch + datetime.timedelta(milliseconds=given)
            given = moment.isoformat(timespec="milliseconds") + "Z"
        found[name] = given
    return found


def files():
    index = []
    read = [(name, None, *rest) for name, *rest in cases()]
    for name, refused, kind, encode, schema, value in [*read, *refusals()]:
        payload, header_value = encode(schema, value)
        yield f"{name}.bin", payload
        entry = {"file": f"{name}.bin"}
        if refused is None:
            entry["expected"] = expected(kind, value)
        else:
            entry["refused"] = refused
        if header_value is not None:
            entry["header"] = header_value.hex()
        if encode is not single_object:
            entry["writer_schema"] = schema
        index.append(entry)
    text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=False) + "\n"
    yield "index.json", text.encode()


def main():
    directory = HERE / "v1"
    made = dict(files())
    kept = {path.name: path.read_bytes() for path in directory.iterdir()}
    if sys.argv[1:] == ["--check"]:
        differing = sorted(
            name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name)
        )
        for name in differing:
            print(f"{name} is not what the encoders write now")
        print(f"{len(made.keys() | kept.keys()) - len(differing)} passed, {len(differing)} failed")
        sys.exit(1 if differing else 0)
    for name, data in made.items():
        (directory / name).write_bytes(data)
    for name in sorted(kept.keys() - made.keys()):
        print(f"{name} is no longer written: keep it in the index, or remove it by hand")


if __name__ == "__main__":
    main()
