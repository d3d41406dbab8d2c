//! The events of one calendar, whatever its kind: kept, changed, deleted, remembered, forgotten,
//! with the history of it. What a request may do is each server's to say.

use std::time::Duration;

use crate::dice::fnv;

use super::event::{By, Change, Event, Stood};

/// How a server makes its ETags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Etags {
    /// One more at each write, as quoted digits (A9).
    Google,
    /// `W/"<changeKey>"` (B1): another one at each write, and again so long after it (B7).
    Microsoft {
        /// After how much time.
        bumps: Vec<Duration>,
    },
    /// One more at each write.
    Counted {
        /// Whether they are weak.
        weak: bool,
    },
    /// The same for the same content.
    Derived {
        /// Whether they are weak.
        weak: bool,
    },
    /// None at all.
    None,
}

impl Etags {
    fn of(&self, kept: &Kept, now: Duration) -> Option<String> {
        let weakly = |weak: bool, text: String| if weak { format!("W/{text}") } else { text };
        match self {
            Self::Google => Some(format!("\"33468923{:08}\"", kept.write)),
            Self::Microsoft { bumps } => {
                let age = kept.age(now);
                let bumped = bumps.iter().filter(|after| **after <= age).count();
                Some(format!("W/\"CK{:08}.{bumped}\"", kept.write))
            }
            Self::Counted { weak } => Some(weakly(*weak, format!("\"c{}\"", kept.write))),
            Self::Derived { weak } => Some(weakly(*weak, format!("\"{:016x}\"", kept.content()))),
            Self::None => None,
        }
    }

    /// Graph makes the ids itself: no two calendars have the same.
    fn id_of(&self, calendar: usize, number: u64) -> Option<String> {
        matches!(self, Self::Microsoft { .. }).then(|| format!("AAMk{calendar}I{number:08}"))
    }
}

/// An event that a calendar keeps, live or deleted.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// It is this one, though another has its name.
    pub(super) id: u64,
    pub(super) event: Event,
    /// The bytes that were written last, where the server keeps them.
    pub(super) text: Vec<u8>,
    pub(super) made_at: Duration,
    pub(super) deleted_at: Option<Duration>,
    /// The number of its last write, by whomever.
    pub(super) write: u64,
    changed_at: Duration,
}

impl Kept {
    /// How long ago it was written last.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.changed_at)
    }

    /// How long after it was made it was written last.
    pub(super) fn changed_after(&self) -> Duration {
        self.changed_at.saturating_sub(self.made_at)
    }

    /// A number for all that it shows.
    fn content(&self) -> u64 {
        let Event { provider_uid, marker, summary, description, location, .. } = &self.event;
        let Event { start, end, tentative, host_note, .. } = &self.event;
        let texts = (provider_uid, summary, description, location, start, end, host_note);
        let shown = format!("{texts:?} {marker:?} {tentative}");
        fnv(self.text.iter().chain(shown.as_bytes()))
    }
}

/// The events of one calendar.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    /// In the order in which they were made.
    kept: Vec<Kept>,
    history: Vec<Change>,
    now: Duration,
    writes: u64,
    etags: Etags,
    /// Whether readers are told that something is deleted.
    tells_of_deleted: bool,
    /// Which calendar it is, of all.
    pub(super) calendar: usize,
}

impl Shelf {
    pub(super) fn new(etags: Etags, tells_of_deleted: bool) -> Self {
        let (kept, history) = (Vec::new(), Vec::new());
        let (now, writes, calendar) = (Duration::ZERO, 0, 0);
        Self { kept, history, now, writes, etags, tells_of_deleted, calendar }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn history(&self) -> &[Change] {
        &self.history
    }

    /// It is this late now; ETags may have changed meanwhile.
    pub(super) fn advance(&mut self, at: Duration) {
        assert!(at >= self.now, "a request of {at:?} arrives after one of {:?}", self.now);
        self.now = at;
        if matches!(self.etags, Etags::Microsoft { .. }) {
            for kept in &mut self.kept {
                kept.event.etag = self.etags.of(kept, at);
            }
        }
    }

    /// A number that no write and no event had yet.
    pub(super) fn number(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().filter(|kept| kept.deleted_at.is_none())
    }

    /// The live event of that name; of several the oldest.
    pub(super) fn find(&self, name: &str) -> Option<&Kept> {
        self.live().find(|kept| kept.event.name == name)
    }

    /// The deleted event of that name; of several the one deleted last.
    pub(super) fn find_deleted(&self, name: &str) -> Option<&Kept> {
        let deleted = self.kept.iter().filter(|kept| kept.event.name == name);
        deleted.filter(|kept| kept.deleted_at.is_some()).max_by_key(|kept| kept.deleted_at)
    }

    /// Whether an event of that name or id was deleted, and none is there any more.
    pub(super) fn was_deleted(&self, name: &str) -> bool {
        let is_its = |kept: &&Kept| kept.event.name == name || kept.event.id() == name;
        let mut its = self.kept.iter().filter(is_its).peekable();
        its.peek().is_some() && its.all(|kept| kept.deleted_at.is_some())
    }

    /// What a reader saw under that name at an hour gone by.
    pub(super) fn stood(&self, name: &str, at: Duration) -> Stood {
        let mut changes = self.history.iter().filter(|change| change.name == name).rev();
        match changes.next() {
            None => Stood::Nothing,
            // All is as it is now, be it one event or two.
            Some(last) if last.at <= at => match (self.find(name), self.find_deleted(name)) {
                (Some(live), _) => self.seen(live),
                (None, Some(deleted)) => self.seen(deleted),
                (None, None) => Stood::Nothing,
            },
            Some(_) => {
                let then = changes.find(|change| change.at <= at);
                then.map_or(Stood::Nothing, |change| change.after.clone())
            }
        }
    }

    fn seen(&self, kept: &Kept) -> Stood {
        match kept.deleted_at {
            None => Stood::Live(Box::new(kept.event.clone())),
            Some(_) if self.tells_of_deleted => Stood::Tombstone,
            Some(_) => Stood::Nothing,
        }
    }

    /// Makes an event; returns its id.
    pub(super) fn add(&mut self, by: By, mut event: Event, text: &[u8]) -> u64 {
        let write = self.number();
        event.server_id = self.etags.id_of(self.calendar, write);
        let kept = Kept {
            id: write,
            event,
            text: text.to_vec(),
            made_at: self.now,
            deleted_at: None,
            write,
            changed_at: self.now,
        };
        let name = kept.event.name.clone();
        self.kept.push(kept);
        self.touch(write, by, name, Stood::Nothing);
        write
    }

    /// Changes an event; if it was deleted, it is live again.
    pub(super) fn rewrite(&mut self, id: u64, by: By, event: Event, text: &[u8]) {
        self.change(id, by, |kept| {
            kept.event = event;
            kept.text = text.to_vec();
            kept.deleted_at = None;
        });
    }

    /// Deletes an event, and remembers it.
    pub(super) fn delete(&mut self, id: u64, by: By) {
        let now = self.now;
        self.change(id, by, |kept| kept.deleted_at = Some(now));
    }

    /// Does this to an event, with a new ETag, and writes it down.
    pub(super) fn change(&mut self, id: u64, by: By, what: impl FnOnce(&mut Kept)) {
        let write = self.number();
        let now = self.now;
        let Some(at) = self.kept.iter().position(|kept| kept.id == id) else {
            unreachable!("what is changed is kept")
        };
        let before = self.seen(&self.kept[at]);
        let kept = &mut self.kept[at];
        what(kept);
        (kept.write, kept.changed_at) = (write, now);
        let name = kept.event.name.clone();
        self.touch(id, by, name, before);
    }

    fn touch(&mut self, id: u64, by: By, name: String, before: Stood) {
        let now = self.now;
        let Some(kept) = self.kept.iter_mut().find(|kept| kept.id == id) else {
            unreachable!("what is touched is kept")
        };
        match by {
            By::Request(_) => kept.event.written_at = Some(now),
            By::Host => kept.event.touched_by_host_at = Some(now),
            By::Server => {}
        }
        kept.event.etag = self.etags.of(kept, now);
        let kept = kept.clone();
        let (id, after) = (kept.event.id().to_owned(), self.seen(&kept));
        self.history.push(Change { at: now, by, name, id, before, after });
    }

    /// Forgets what was deleted until then; `false`: there was nothing.
    pub(super) fn forget(&mut self, by: By, deleted_until: Duration) -> bool {
        let is_over = |kept: &Kept| kept.deleted_at.is_some_and(|at| at <= deleted_until);
        let (over, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.kept).into_iter().partition(is_over);
        self.kept = kept;
        for gone in &over {
            let (before, name) = (self.seen(gone), gone.event.name.clone());
            if before != Stood::Nothing {
                let (id, after) = (gone.event.id().to_owned(), Stood::Nothing);
                self.history.push(Change { at: self.now, by, name, id, before, after });
            }
        }
        !over.is_empty()
    }
}
