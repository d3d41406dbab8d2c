//! What a host sees: times where clocks change and days end, and texts of every character.

use booking::Status;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::bench::{Bench, Done};

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

/// The booking is shown at these times, made so and changed to them.
async fn is_shown_at(bench: &mut Bench, zone: Tz, start: &str, end: &str) -> Done {
    let (start, end) = (at(start), at(end));
    for is_changed in [false, true] {
        if is_changed {
            bench.book().await;
            bench.is_right().await?;
        }
        let details = &mut bench.story.details;
        (details.zone, details.start, details.end) = (zone, start, end);
        let story = &mut bench.story;
        let event = if is_changed { story.updated() } else { story.created() };
        bench.tell(event).await;
        let shown = bench.is_right().await;
        shown.map_err(|why| format!("from {start} to {end} in {zone}: {why}"))?;
        bench.afresh().await;
    }
    Ok(())
}

/// Berlin's 2030-03-31 has no hour from two to three: before it, up to it, from it on, around it (L19).
pub(super) async fn the_hour_that_is_skipped_moves_nothing(bench: &mut Bench) -> Done {
    for (start, end) in [
        ("2030-03-31T00:00:00Z", "2030-03-31T00:45:00Z"),
        ("2030-03-31T00:30:00Z", "2030-03-31T01:00:00Z"),
        ("2030-03-31T01:00:00Z", "2030-03-31T01:30:00Z"),
        ("2030-03-31T00:30:00Z", "2030-03-31T01:30:00Z"),
    ] {
        is_shown_at(bench, Tz::Europe__Berlin, start, end).await?;
    }
    Ok(())
}

/// Its 2030-10-27 has that hour twice: in the first pass, in the second, from the one into the other,
/// around both.
pub(super) async fn the_hour_that_is_lived_twice_moves_nothing(bench: &mut Bench) -> Done {
    for (start, end) in [
        ("2030-10-27T00:10:00Z", "2030-10-27T00:50:00Z"),
        ("2030-10-27T01:10:00Z", "2030-10-27T01:50:00Z"),
        ("2030-10-27T00:30:00Z", "2030-10-27T01:30:00Z"),
        ("2030-10-27T00:45:00Z", "2030-10-27T01:15:00Z"),
        ("2030-10-26T23:30:00Z", "2030-10-27T02:30:00Z"),
        ("2030-10-27T01:30:00Z", "2030-10-27T02:30:00Z"),
    ] {
        is_shown_at(bench, Tz::Europe__Berlin, start, end).await?;
    }
    Ok(())
}

/// Zones that are off by parts of an hour, by more than half a day, by half an hour in summer (Lord Howe's
/// clocks go back at 2030-04-06T15:00Z), or by less in summer than in winter.
pub(super) async fn an_unusual_zone_moves_nothing(bench: &mut Bench) -> Done {
    for (zone, start, end) in [
        (Tz::Asia__Kolkata, "2030-06-03T18:15:00Z", "2030-06-03T19:00:00Z"),
        (Tz::Asia__Kathmandu, "2030-06-03T18:10:00Z", "2030-06-03T18:20:00Z"),
        (Tz::America__St_Johns, "2030-06-03T02:00:00Z", "2030-06-03T03:00:00Z"),
        (Tz::Africa__Casablanca, "2030-01-15T12:00:00Z", "2030-01-15T13:00:00Z"),
        (Tz::Pacific__Kiritimati, "2030-12-31T09:30:00Z", "2030-12-31T10:30:00Z"),
        (Tz::Australia__Lord_Howe, "2030-04-06T14:00:00Z", "2030-04-06T14:30:00Z"),
        (Tz::Australia__Lord_Howe, "2030-04-06T14:45:00Z", "2030-04-06T15:20:00Z"),
    ] {
        is_shown_at(bench, zone, start, end).await?;
    }
    Ok(())
}

/// Into the next day, month and year; and in UTC alone.
pub(super) async fn an_event_across_midnight_ends_on_the_next_day(bench: &mut Bench) -> Done {
    let (start, end) = ("2030-12-31T22:30:00Z", "2030-12-31T23:45:00Z");
    is_shown_at(bench, Tz::Europe__Berlin, start, end).await?;
    is_shown_at(bench, Tz::America__New_York, "2030-06-03T23:30:00Z", "2030-06-04T00:30:00Z")
        .await?;
    is_shown_at(bench, Tz::UTC, "2030-06-03T23:30:00Z", "2030-06-04T00:30:00Z").await
}

/// 200 days long, with another offset at its end.
pub(super) async fn an_event_of_200_days_ends_when_it_does(bench: &mut Bench) -> Done {
    let (start, end) = ("2030-02-01T09:00:00Z", "2030-08-20T08:00:00Z");
    is_shown_at(bench, Tz::Europe__Berlin, start, end).await?;
    is_shown_at(bench, Tz::America__New_York, start, end).await
}

/// Zero length: no calendar takes an event that ends where it starts (RFC 5545 §3.6.1, "DTEND";
/// Google's `timeRangeEmpty`). A booking that says so is for a person, and no call; one that is shorter
/// than calendars can say is shown as their shortest.
pub(super) async fn an_event_always_ends_after_its_start(bench: &mut Bench) -> Done {
    for length in [TimeDelta::zero(), TimeDelta::seconds(-60)] {
        bench.story.details.end = bench.story.details.start + length;
        let event = bench.story.created();
        bench.publish(&event).await;
        let letters = bench.dead_letters().await.len();
        ensure!(letters == 1, "{letters} dead letters, of a booking that has no length");
        bench.is_right().await?;
        ensure!(bench.subject.attempts(&bench.place).is_empty(), "a call was made");
        let id = bench.dead_letters().await.remove(0).id;
        bench.discard(id).await;
        bench.afresh().await;
    }
    for (start, end) in [
        ("2030-06-03T09:00:00.250Z", "2030-06-03T09:00:00.750Z"),
        ("2030-06-03T09:00:00Z", "2030-06-03T09:00:00.001Z"),
        ("2030-06-03T09:00:00.999Z", "2030-06-03T09:00:01Z"),
        ("2030-06-03T09:00:00Z", "2030-06-03T09:00:01Z"),
    ] {
        is_shown_at(bench, Tz::Europe__Berlin, start, end).await?;
    }
    Ok(())
}

/// The booking shows this title, description and place, made so and changed to it.
async fn says(bench: &mut Bench, line: &str, text: &str) -> Done {
    for is_changed in [false, true] {
        if is_changed {
            bench.book().await;
            bench.is_right().await?;
        }
        let details = &mut bench.story.details;
        line.clone_into(&mut details.service_name);
        (details.location, details.description) = (Some(line.to_owned()), Some(text.to_owned()));
        let story = &mut bench.story;
        let event = if is_changed { story.updated() } else { story.created() };
        bench.tell(event).await;
        bench.is_right().await?;
        bench.afresh().await;
    }
    Ok(())
}

/// Every character that some format on the way escapes: iCalendar, JSON, HTML, XML, URLs, `OData`.
pub(super) async fn a_title_may_have_every_character_that_escapes(bench: &mut Bench) -> Done {
    let line = r#"back\slash; semicolon, comma: colon "quoted" 'n' \n \N \, \; \\ <b>&amp;</b> ]]> %20 + #? {x} [y] ^n ~|`$@=!/"#;
    let text = format!("{line}\n\n{line}\n\tindented\nBEGIN:VEVENT\nEND:VCALENDAR");
    says(bench, line, &text).await?;
    says(bench, ":;,\\", "\\").await
}

/// Characters of four bytes, joined and combined ones, and so many that every line is folded.
pub(super) async fn a_title_may_have_characters_of_four_bytes(bench: &mut Bench) -> Done {
    let line = "𝄞 虎 👩‍👩‍👧‍👦 🇩🇪 e\u{301}\u{308} Ångström ﬁ 𝒳";
    says(bench, line, &format!("{}\n{}", "🇩🇪 ".repeat(60).trim(), "😀".repeat(40))).await
}

/// From right to left, with numbers and Latin between, and marks that are not seen.
pub(super) async fn a_title_may_run_from_right_to_left(bench: &mut Bench) -> Done {
    let line = "שלום עולם \u{200f}مرحبا (123) abc \u{202b}אב\u{202c}";
    says(bench, line, &format!("{line}\nابجد, هوز; 42")).await
}

/// The longest that the service shows is shown whole.
pub(super) async fn a_text_as_long_as_may_be_is_shown_whole(bench: &mut Bench) -> Done {
    let line: String = "Ünïcödé, ".chars().cycle().take(900).collect();
    let text: String = "Zeile; 虎 \\ \n".chars().cycle().take(7_990).collect();
    says(bench, line.trim(), text.trim()).await
}

/// What a booking does not say any more is not shown any more; nor is a doubt that is over.
pub(super) async fn what_is_taken_back_is_shown_no_more(bench: &mut Bench) -> Done {
    bench.allow_tentative();
    let details = &mut bench.story.details;
    details.status = Status::Pending;
    details.description = Some("Bring a towel".to_owned());
    details.location = Some("Room 1".to_owned());
    bench.book().await;
    bench.is_right().await?;
    let details = &mut bench.story.details;
    details.status = Status::Confirmed;
    (details.description, details.location) = (None, None);
    bench.update().await;
    bench.is_right().await
}
