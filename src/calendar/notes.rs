//! PURE: our words in an event's text, and the host's around them (rule R20).
//!
//! A host writes her notes where our text stands. So that an update changes ours and keeps hers, a
//! [`Run`] goes with each text of ours, beside the marker: how many words it has, and their digest.
//! Words, since calendars change white space. Where that run of words stands in what is shown, it is
//! ours, and what stands before and after it is hers. Where it does not stand whole, somebody has
//! edited our text, and the next update writes over all of it. Where we wrote none, all is hers.
//! An event without a run was not written by us (or not by this version): its text counts as ours.

pub(super) mod page;

use std::fmt;
use std::ops::Range;

use booking::Digest;

/// So many words of a text are looked at; what comes after them is the host's.
const WORDS_MAX: usize = 100_000;
/// What a word costs beside its bytes: its length is hashed as well.
const WORD_COST: usize = 8;
/// So many bytes are hashed at most in search of our words.
const HASHED_MAX: usize = 16 * 1024 * 1024;

/// What tells our words in a text: written `<count>:<digest>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    count: usize,
    digest: Digest,
}

impl Run {
    /// Of a text of ours; of none.
    pub fn of(text: Option<&str>) -> Self {
        let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
        Self { count: words.len(), digest: digest(words.iter().copied()) }
    }

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, digest) = text.split_once(':')?;
        let count = count.parse().ok().filter(|count| *count <= WORDS_MAX)?;
        Some(Self { count, digest: Digest::parse(digest)? })
    }

    /// Where these words stand: at the start, else at the end, else anywhere.
    fn find(&self, words: &[Word<'_>]) -> Option<Range<usize>> {
        let last = words.len().checked_sub(self.count)?;
        let mut hashed = 0_usize;
        for at in [0, last].into_iter().chain(1..last) {
            let these = &words[at..at + self.count];
            hashed += these.iter().map(|word| word.text.len() + WORD_COST).sum::<usize>();
            if hashed > HASHED_MAX {
                return None;
            }
            if digest(these.iter().map(|word| word.text.as_ref())) == self.digest {
                return Some(at..at + self.count);
            }
        }
        None
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.count, self.digest)
    }
}

fn digest<'a>(words: impl Iterator<Item = &'a str>) -> Digest {
    Digest::of(words.map(str::as_bytes))
}

/// A word, and where it stands.
struct Word<'a> {
    text: std::borrow::Cow<'a, str>,
    range: Range<usize>,
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// As a page or a part of one, in HTML.
    Page,
    /// As it is, or in HTML: which of them nothing tells (Google).
    Either,
}

/// What a text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// What counts as ours.
    pub ours: Option<String>,
    /// The host's, if there is any.
    pub hers: Option<Notes>,
}

impl Parts {
    /// Tells our words in a text from the host's.
    pub fn of(shown: &str, form: Form, run: Option<Run>) -> Self {
        match (form, run) {
            (Form::Plain | Form::Either, None) => Self::all_ours(shown),
            (Form::Page, None) => Self::all_ours(&page::text(shown)),
            (Form::Plain, Some(run)) => {
                Self::of_plain(shown, run).unwrap_or_else(|| Self::all_ours(shown))
            }
            (Form::Page, Some(run)) => {
                page::parts(shown, run).unwrap_or_else(|| Self::all_ours(&page::text(shown)))
            }
            (Form::Either, Some(run)) => Self::of_plain(shown, run)
                .or_else(|| page::parts(shown, run))
                .unwrap_or_else(|| Self::all_ours(shown)),
        }
    }

    fn all_ours(shown: &str) -> Self {
        Self { ours: some(shown), hers: None }
    }

    /// `None`: our words are not there.
    fn of_plain(shown: &str, run: Run) -> Option<Self> {
        let words = words(shown);
        if run.count == 0 {
            let notes = Notes { before: String::new(), after: shown.to_owned(), ..Notes::BESIDE };
            return Some(Self { ours: None, hers: (!words.is_empty()).then_some(notes) });
        }
        let found = run.find(&words)?;
        let (start, end) = (words[found.start].range.start, words[found.end - 1].range.end);
        let notes = Notes {
            before: shown[..start].to_owned(),
            after: shown[end..].to_owned(),
            is_page: false,
            is_beside: false,
        };
        let is_all = found.len() == words.len() && words.len() < WORDS_MAX;
        Some(Self { ours: Some(shown[start..end].to_owned()), hers: (!is_all).then_some(notes) })
    }
}

fn some(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn words(text: &str) -> Vec<Word<'_>> {
    let start_of = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    let words = text.split_whitespace().take(WORDS_MAX).map(|word| {
        let start = start_of(word);
        Word { text: word.into(), range: start..start + word.len() }
    });
    words.collect()
}

/// What a host has written before and after our text.
#[derive(Clone, PartialEq, Eq)]
pub struct Notes {
    before: String,
    after: String,
    /// It is HTML.
    is_page: bool,
    /// No text of ours stood there yet.
    is_beside: bool,
}

/// Nobody's notes are logged.
impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notes({} and {} bytes)", self.before.len(), self.after.len())
    }
}

impl Notes {
    const BESIDE: Self =
        Self { before: String::new(), after: String::new(), is_page: false, is_beside: true };

    /// Whether [`Notes::around`] gives HTML.
    pub fn is_page(&self) -> bool {
        self.is_page
    }

    /// The same, of a plain text, in at most so many bytes.
    #[must_use]
    pub fn up_to(mut self, len_max: usize) -> Self {
        for (text, len_max) in [(&mut self.before, len_max), (&mut self.after, len_max)] {
            let fits = |len: &usize| *len <= len_max && text.is_char_boundary(*len);
            let len = (0..=text.len().min(len_max)).rev().find(fits);
            text.truncate(len.unwrap_or_default());
        }
        self
    }

    /// Her notes with another text of ours among them, where ours stood; or first of all.
    pub fn around(&self, ours: Option<&str>) -> String {
        let ours = ours
            .filter(|ours| !ours.trim().is_empty())
            .map(|ours| if self.is_page { page::escape(ours) } else { ours.to_owned() });
        let border = match (&ours, self.is_beside, self.is_page) {
            (Some(_), true, true) => "<br>\r\n<br>\r\n",
            (Some(_), true, false) => "\n\n",
            (_, _, _) => "",
        };
        [&self.before, ours.as_deref().unwrap_or_default(), border, &self.after].concat()
    }

    /// The same in so many characters: for want of room ours is cut, which stands elsewhere too, and
    /// hers is not. Also answers what is left of ours.
    pub fn around_within(&self, ours: Option<&str>, len_max: usize) -> (String, Option<String>) {
        let whole = self.around(ours);
        let over = whole.chars().count().saturating_sub(len_max);
        let Some(text) = ours.filter(|_| over > 0) else {
            return (whole, ours.map(str::to_owned));
        };
        // Each character of ours takes one at least, and the ellipsis one.
        let kept = text.chars().count().saturating_sub(over + 1);
        let cut: String = text.chars().take(kept).chain(['…']).collect();
        let around = self.around(Some(&cut));
        if around.chars().count() > len_max {
            // Hers leaves no room, not even for the lines between: the rest of the update is worth more.
            return (self.around(None), None);
        }
        (around, Some(cut))
    }
}

/// A text but for white space and what no calendar can carry.
fn plain(text: &str) -> String {
    let kept = |c: &char| c.is_whitespace() || !c.is_control();
    let text: String = text.chars().filter(kept).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether two texts are the same but for that.
pub fn is_same(ours: &str, shown: &str) -> bool {
    plain(ours) == plain(shown)
}

/// The same of a text that may be cut for want of room, and says so by an ellipsis.
pub fn is_same_or_cut(ours: &str, shown: &str) -> bool {
    let (ours, shown) = (plain(ours), plain(shown));
    ours == shown || shown.strip_suffix('…').is_some_and(|start| ours.starts_with(start))
}

#[cfg(test)]
#[path = "notes_tests.rs"]
mod tests;
