use super::*;

const UID: &str = "b-1@example.com";
const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(7));

fn content(zone: Tz, start: &str, end: &str) -> Content {
    Content {
        summary: "Haircut \"Ada\" 👩‍🦰 ‏שלום".to_owned(),
        description: None,
        location: Some("Main Street 1".to_owned()),
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
        zone,
        tentative: false,
    }
}

fn marker(content: &Content) -> Marker {
    let uid = IcalUid::parse(UID).unwrap();
    Marker { uid, connection: CONNECTION, revision: 3, digest: content.digest() }
}

fn morning() -> Content {
    content(Tz::Europe__Paris, "2026-11-23T08:00:00Z", "2026-11-23T09:00:00Z")
}

/// As Graph shows what was written.
fn shown(content: &Content) -> Value {
    let mut event = insert_of("name", &marker(content), content);
    let fields = event.as_object_mut().unwrap();
    fields.insert("id".to_owned(), "AAMkAD=".into());
    fields.insert("@odata.etag".to_owned(), "W/\"abc==\"".into());
    fields.insert("iCalUId".to_owned(), "040000008200E000".into());
    fields.insert(
        "start".to_owned(),
        json!({"dateTime": "2026-11-23T08:00:00.0000000", "timeZone": "UTC"}),
    );
    fields.insert(
        "end".to_owned(),
        json!({"dateTime": "2026-11-23T09:00:00.0000000", "timeZone": "UTC"}),
    );
    fields.insert("createdDateTime".to_owned(), "2026-11-20T08:00:00.1234567Z".into());
    fields.insert("lastModifiedDateTime".to_owned(), "2026-11-20T08:00:01Z".into());
    event
}

fn parse(event: &Value) -> Option<Event> {
    Event::parse(event.to_string().as_bytes())
}

/// A letter of four bytes counts twice, and is not cut in two.
#[test]
fn a_title_or_a_place_is_cut_where_exchange_cuts_it() {
    let fitting = "x".repeat(255);
    assert_eq!(cut(&fitting), fitting);
    assert_eq!(cut(&"x".repeat(256)), format!("{}…", "x".repeat(254)));
    let odd = format!("x{}", "👩".repeat(127));
    assert_eq!(cut(&odd), odd);
    assert_eq!(cut(&"👩".repeat(128)), format!("{}…", "👩".repeat(127)));
    assert_eq!(cut(&format!("x{}", "👩".repeat(128))), format!("x{}…", "👩".repeat(126)));
}

/// L19.
#[test]
fn a_time_is_local_in_its_zone_and_has_no_offset() {
    let event = insert_of("name", &marker(&morning()), &morning());
    let start = json!({"dateTime": "2026-11-23T09:00:00", "timeZone": "Europe/Paris"});
    let end = json!({"dateTime": "2026-11-23T10:00:00", "timeZone": "Europe/Paris"});
    assert_eq!((&event["start"], &event["end"]), (&start, &end));
}

/// L19: in the night when the clock goes back, a local time without an offset says two instants.
#[test]
fn what_a_local_time_cannot_say_is_said_in_utc() {
    let twice = content(Tz::Europe__Paris, "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z");
    let event = insert_of("name", &marker(&twice), &twice);
    assert_eq!(event["start"], json!({"dateTime": "2026-10-25T00:30:00", "timeZone": "UTC"}));
    assert_eq!(event["end"], json!({"dateTime": "2026-10-25T02:30:00", "timeZone": "UTC"}));
    // Graph documents no such zone.
    let stranger = content(Tz::Europe__Zurich, "2026-11-23T08:00:00Z", "2026-11-23T09:00:00Z");
    let event = insert_of("name", &marker(&stranger), &stranger);
    assert_eq!(event["start"], json!({"dateTime": "2026-11-23T08:00:00", "timeZone": "UTC"}));
}

#[test]
fn every_zone_that_is_written_is_another_one() {
    for (at, zone) in ZONES.iter().enumerate() {
        assert!(!ZONES[..at].contains(zone), "{zone} stands twice");
    }
}

/// B4.
#[test]
fn a_patch_names_no_transaction_and_clears_what_is_empty() {
    let bare = Content { location: None, ..morning() };
    let body = insert_of("name", &marker(&bare), &bare).to_string();
    let patch: Value = serde_json::from_slice(&patch_of(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(patch.get("transactionId"), None);
    assert_eq!(patch["location"]["displayName"], "");
    assert_eq!(patch["body"]["content"], "");
    assert_eq!(patch["isAllDay"], false);
    for hers in ["attendees", "categories", "isReminderOn", "reminderMinutesBeforeStart"] {
        assert_eq!(patch.get(hers), None, "{hers} is the host's");
    }
    for none in ["", "[]", "{}", "nonsense"] {
        assert_eq!(patch_of(none.as_bytes()), None);
    }
}

#[test]
fn an_event_is_read_with_its_name_marker_and_weak_etag() {
    let event = parse(&shown(&morning())).unwrap();
    assert_eq!((event.id(), event.etag().as_deref()), ("AAMkAD=", Some("W/\"abc==\"")));
    assert_eq!(event.marker(), Some(marker(&morning())));
    assert_eq!(event.ical_uid().as_deref(), Some("040000008200E000"));
    assert_eq!(event.content(), Some(Content { zone: Tz::UTC, ..morning() }));
}

/// B5: Graph's search does not look at capitals.
#[test]
fn a_name_is_compared_to_the_letter() {
    let mut shown = shown(&morning());
    assert!(parse(&shown).unwrap().is_posted_as("name"));
    assert!(!parse(&shown).unwrap().is_posted_as("NAME"));
    // The set's id may come back in capitals.
    let upper = NAME.replace("6cfc4fd6", "6CFC4FD6");
    shown["singleValueExtendedProperties"][0]["id"] = upper.into();
    assert!(parse(&shown).unwrap().is_posted_as("name"));
}

#[test]
fn what_is_no_event_of_graphs_is_not_read_as_one() {
    for strange in [
        json!({}),
        json!([]),
        json!({"id": ""}),
        json!({"id": "a b", "@odata.etag": "W/\"1\""}),
        json!({"id": "a", "@odata.etag": "1"}),
        json!({"id": "a".repeat(ID_LEN_MAX + 1), "@odata.etag": "W/\"1\""}),
        json!({"id": "a", "@odata.etag": format!("W/\"{}\"", "1".repeat(ETAG_LEN_MAX))}),
    ] {
        assert!(parse(&strange).is_none(), "{strange}");
    }
    for half in ["{}", "{\"uid\":\"\"}", "nonsense"] {
        let mut event = shown(&morning());
        event["singleValueExtendedProperties"][1]["value"] = half.into();
        assert_eq!(parse(&event).unwrap().marker(), None);
    }
}

/// B3: a POST of before is answered with its event, as that is by now.
#[test]
fn an_answer_that_shows_something_else_than_was_sent_is_of_before() {
    let content = Content { description: Some("Be early.".to_owned()), ..morning() };
    let posted = insert_of("name", &marker(&content), &content).to_string();
    let is_former = |event: &Value| parse(event).unwrap().is_former("name", posted.as_bytes());
    let mut fresh = shown(&content);
    fresh["body"] =
        json!({"contentType": "html", "content": "<html><body>Be early.</body></html>"});
    assert!(!is_former(&fresh));
    for (field, value) in [
        ("subject", json!("Massage")),
        ("location", json!({"displayName": ""})),
        ("showAs", json!("tentative")),
        ("isAllDay", json!(true)),
        ("start", json!({"dateTime": "2026-11-23T08:30:00.0000000", "timeZone": "UTC"})),
        ("transactionId", json!("another")),
        ("lastModifiedDateTime", json!("2026-11-20T09:00:00Z")),
        ("body", json!({"contentType": "html", "content": "<p>Be late.</p>"})),
        ("body", json!({"contentType": "html", "content": "<p>Be early.</p>mine"})),
    ] {
        let mut event = fresh.clone();
        event[field] = value;
        assert!(is_former(&event), "{field}");
    }
    // It comes only if it was set.
    let mut event = fresh.clone();
    event.as_object_mut().unwrap().remove("transactionId");
    assert!(!is_former(&event));
}

/// R20: what a host edits is found, and her notes are no edit.
#[test]
fn an_edit_is_told_from_notes() {
    let content = Content { description: Some("Be early,\nplease.".to_owned()), ..morning() };
    let mut event = shown(&content);
    let page = |text: &str| json!({"contentType": "html", "content": text});
    event["body"] = page("<html><body><div>Be early,<br>\r\nplease.</div></body></html>");
    let read = parse(&event).unwrap();
    assert_eq!((read.differs(), read.notes()), (Some(false), None));
    assert_eq!(read.content().unwrap().description.as_deref(), Some("Be early, please."));
    event["type"] = "singleInstance".into();
    for (body, has_notes) in [
        (page("<p>Be early, please.</p><p><b>mine</b></p>"), true),
        (json!({"contentType": "text", "content": "mine\r\nBe early,\r\nplease."}), true),
        (json!({"contentType": "text", "content": " Be  early, please.\r\n"}), false),
    ] {
        event["body"] = body;
        let noted = parse(&event).unwrap();
        assert_eq!((noted.differs(), noted.notes().is_some()), (Some(false), has_notes));
    }
    for (field, value) in [
        ("subject", json!("Massage")),
        ("location", json!({"displayName": "Elsewhere"})),
        ("showAs", json!("tentative")),
        ("showAs", json!("free")),
        ("showAs", json!("workingElsewhere")),
        ("isAllDay", json!(true)),
        ("type", json!("seriesMaster")),
        ("start", json!({"dateTime": "2026-11-23T08:30:00.0000000", "timeZone": "UTC"})),
        ("body", page("Be late, please.")),
        ("body", page("")),
    ] {
        let mut edited = event.clone();
        edited[field] = value;
        assert_eq!(parse(&edited).unwrap().differs(), Some(true), "{field}");
    }
    // The time is taken all the same.
    for shows in ["busy", "oof"] {
        event["showAs"] = shows.into();
        assert_eq!(parse(&event).unwrap().differs(), Some(false), "{shows}");
    }
    // What an earlier version wrote.
    let old = json!({
        "uid": UID,
        "connection": CONNECTION.0,
        "revision": 3,
        "digest": content.digest().to_string(),
    });
    event["singleValueExtendedProperties"][1]["value"] = old.to_string().into();
    let read = parse(&event).unwrap();
    assert_eq!(read.marker(), Some(marker(&content)));
    assert_eq!((read.differs(), read.notes()), (None, None));
}

#[test]
fn her_page_stays_around_our_words() {
    let content = Content { description: Some("Be early.".to_owned()), ..morning() };
    let mut event = shown(&content);
    event["body"] = json!({"contentType": "html", "content": "<p>Be early.</p><p><b>mine</b></p>"});
    let notes = parse(&event).unwrap().notes().unwrap();
    let later = Content { description: Some("Be late & <loud>.".to_owned()), ..morning() };
    let body = insert_of("name", &marker(&later), &later).to_string();
    let merged: Value =
        serde_json::from_slice(&with_notes(body.as_bytes(), &notes).unwrap()).unwrap();
    let page = "<p>Be late &amp; &lt;loud&gt;.</p><p><b>mine</b></p>";
    assert_eq!(merged["body"], json!({"contentType": "html", "content": page}));
    let mut other: Value = serde_json::from_str(&body).unwrap();
    other["body"] = merged["body"].clone();
    assert_eq!(merged, other, "the rest is as it was");
    for none in ["", "[]", "{}", "{\"body\":{\"content\":7}}"] {
        assert_eq!(with_notes(none.as_bytes(), &notes), None);
    }
}
