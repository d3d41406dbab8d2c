//! What must be so after every fact, whatever it was about.

use std::collections::BTreeSet;

use booking::Content;
use calendar_sync::calendar::ical;
use calendar_sync::store::ExternalEvent;

use super::bench::{Bench, Done};
use crate::end_to_end::host::Shown;

/// Nothing is owed; one live event shows the booking as it is, or none; the row says so too; nothing
/// took effect twice, and nothing went backwards; what the host has made is as she made it.
pub(super) async fn judge(bench: &mut Bench) -> Done {
    if bench.is_owing().await {
        return Err("something is still owed".to_owned());
    }
    note_acknowledged(bench).await?;
    let row = bench.row().await?;
    let ours = hers_are_left(bench).await?;
    match (&bench.wanted, ours.as_slice()) {
        (None, []) => says_cancelled(row.as_ref())?,
        (Some(content), [event]) => {
            let row = row.ok_or("there is an event, and no row")?;
            shows(&bench.subject.kept(content), event)?;
            agrees(&row, event, content)?;
            if event.revision != bench.revision {
                return Err(format!("revision {}, not {}", event.revision, bench.revision));
            }
        }
        (None, _) => return Err(format!("something is left behind: {ours:?}")),
        (Some(_), []) => return Err("the event is missing".to_owned()),
        (Some(_), _) => return Err(format!("it is there more than once: {ours:?}")),
    }
    takes_effect_once(bench)
}

/// What was acknowledged never goes backwards.
pub(super) async fn note_acknowledged(bench: &mut Bench) -> Done {
    let Some(row) = bench.row().await? else {
        return Ok(());
    };
    let (before, now) = (bench.acknowledged, row.applied_revision);
    bench.acknowledged = now;
    if now < before {
        return Err(format!("revision {before} was acknowledged, and then {now}"));
    }
    Ok(())
}

/// The host's copies are as she has made them. Answers what else there is.
async fn hers_are_left(bench: &Bench) -> Result<Vec<Shown>, String> {
    let mut shown = bench.shown().await;
    for copy in &bench.hers {
        if !shown.contains(copy) {
            return Err(format!("the host's {copy:?} is not what it was: {shown:?}"));
        }
        shown.retain(|event| event.id != copy.id);
    }
    Ok(shown)
}

fn says_cancelled(row: Option<&ExternalEvent>) -> Done {
    match row {
        Some(row) if row.sync_status != "CANCELLED" || row.is_busy => {
            Err(format!("there is no event, and the row says {row:?}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Every text and time.
fn shows(wanted: &Content, event: &Shown) -> Done {
    let (start, end) = ical::whole_seconds(wanted);
    let none = String::new();
    for (said, meant) in [
        (&event.summary, &wanted.summary),
        (event.description.as_ref().unwrap_or(&none), wanted.description.as_ref().unwrap_or(&none)),
        (event.location.as_ref().unwrap_or(&none), wanted.location.as_ref().unwrap_or(&none)),
    ] {
        if said != meant {
            let same = said.chars().zip(meant.chars()).take_while(|(one, other)| one == other);
            let from = same.count();
            let rest = |text: &str| text.chars().skip(from).take(20).collect::<String>();
            let (said, meant) = (rest(said), rest(meant));
            return Err(format!("it says {said:?}, not {meant:?}, from character {from} on"));
        }
    }
    let times = (event.start, event.end, event.zone, event.tentative);
    let expected = (start, end, Some(wanted.zone), wanted.tentative);
    if times != expected {
        return Err(format!("it is at {times:?}, not at {expected:?}"));
    }
    Ok(())
}

/// The row tells of the event: its name, its UID, its ETag, its revision.
fn agrees(row: &ExternalEvent, event: &Shown, content: &Content) -> Done {
    let same = |what: &str, row: &str, event: &str| {
        let differs = || format!("the row's {what} is {row}, the event's {event}");
        if row == event { Ok(()) } else { Err(differs()) }
    };
    same("name", &row.external_id, &event.id)?;
    if let Some(uid) = &row.provider_uid {
        same("UID", uid, &event.provider_uid)?;
    }
    if let Some(etag) = &row.etag {
        same("ETag", etag, &event.etag)?;
    }
    same("revision", &row.applied_revision.to_string(), &event.revision.to_string())?;
    let is_live = row.is_busy && matches!(row.sync_status.as_str(), "CREATED" | "UPDATED");
    if !is_live || (row.start, row.end) != (content.start, content.end) {
        return Err(format!("the row says {row:?}"));
    }
    Ok(())
}

/// A revision is written once under one name, and a lower one is never written over it.
fn takes_effect_once(bench: &Bench) -> Done {
    if bench.is_repaired {
        return Ok(());
    }
    let effects = bench.effects();
    let mut written = BTreeSet::new();
    let mut highest = -1;
    for effect in &effects {
        let Some(revision) = effect.revision else { continue };
        if !written.insert((&effect.id, revision)) {
            return Err(format!("revision {revision} took effect twice: {effects:?}"));
        }
        // Requests are written down as they come, and a late one takes effect later.
        if revision < highest && !bench.is_late {
            return Err(format!("revision {revision} came after {highest}: {effects:?}"));
        }
        highest = revision;
    }
    Ok(())
}
