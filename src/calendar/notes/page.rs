//! PURE: a text in HTML, as far as it takes to find our words in it and to put others in their place.
//! The tags stay as the host's program has made them.

use std::borrow::Cow;
use std::ops::Range;

use super::{Notes, Parts, Run, WORDS_MAX, Word};

/// Tags that stand within a word.
const INLINE: [&str; 22] = [
    "a", "abbr", "b", "big", "code", "del", "em", "font", "i", "ins", "mark", "o:p", "s", "small",
    "span", "strike", "strong", "sub", "sup", "tt", "u", "wbr",
];
/// Elements whose content is no text.
const SILENT: [&str; 4] = ["head", "script", "style", "title"];
/// Elements that show something without a word.
const SHOWING: [&str; 8] = ["audio", "hr", "iframe", "img", "input", "object", "svg", "video"];
/// The longest name of a tag, in bytes.
const NAME_LEN_MAX: usize = 32;
/// The longest entity that is understood, in bytes, from `&` to `;`.
const ENTITY_LEN_MAX: usize = 34;

/// A tag, a comment, or an element that shows nothing.
struct Markup {
    range: Range<usize>,
    /// In lower case; empty for a comment.
    name: String,
    closes: bool,
}

/// The words of a page, and its tags.
struct Page<'a> {
    words: Vec<Word<'a>>,
    markup: Vec<Markup>,
}

/// Tells our words in a page from the host's. `None`: ours are not there.
pub(super) fn parts(html: &str, run: Run) -> Option<Parts> {
    let page = Page::read(html);
    if run.count == 0 {
        let at = page.markup.iter().find(|it| it.name == "body" && !it.closes);
        let (before, after) = html.split_at(at.map_or(0, |body| body.range.end));
        let (before, after) = (before.to_owned(), after.to_owned());
        let notes = Notes { before, after, is_page: true, is_beside: true };
        return Some(Parts { ours: None, hers: page.shows_anything().then_some(notes) });
    }
    let found = run.find(&page.words)?;
    let is_all = found.len() == page.words.len() && found.len() < WORDS_MAX && !page.shows_more();
    let ours = join(&page.words[found.clone()]);
    let range = page.words[found.start].range.start..page.words[found.end - 1].range.end;
    let notes = Notes {
        before: html[..range.start].to_owned(),
        after: page.tags_in(html, &range) + &html[range.end..],
        is_page: true,
        is_beside: false,
    };
    Some(Parts { ours: Some(ours), hers: (!is_all).then_some(notes) })
}

/// The words of a page.
pub(super) fn text(html: &str) -> String {
    join(&Page::read(html).words)
}

fn join(words: &[Word<'_>]) -> String {
    words.iter().map(|word| word.text.as_ref()).collect::<Vec<_>>().join(" ")
}

/// A text as a part of a page.
pub(super) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\n' => html.push_str("<br>\r\n"),
            other => html.push(other),
        }
    }
    html
}

impl<'a> Page<'a> {
    fn read(html: &'a str) -> Self {
        let lower = html.to_ascii_lowercase();
        let mut reader = Reader { html, lower, word: None, at: 0, is_text_from_here: false };
        let mut page = Page { words: Vec::new(), markup: Vec::new() };
        while page.words.len() < WORDS_MAX && reader.step(&mut page) {}
        page
    }

    /// Whether anything shows in it.
    fn shows_anything(&self) -> bool {
        !self.words.is_empty() || self.shows_more()
    }

    /// Whether something shows in it that is no word: none of ours.
    fn shows_more(&self) -> bool {
        self.markup.iter().any(|it| SHOWING.contains(&it.name.as_str()))
    }

    /// What of the tags among our words has to stay, so that those around them still match: all but
    /// line breaks, and those of which as many open as close.
    fn tags_in(&self, html: &str, ours: &Range<usize>) -> String {
        let inside: Vec<&Markup> = self
            .markup
            .iter()
            .filter(|it| ours.start < it.range.start && it.range.end <= ours.end)
            .filter(|it| it.name != "br")
            .collect();
        let is_even = |name: &str| {
            let of_name = || inside.iter().filter(|it| it.name == name);
            !name.is_empty() && of_name().filter(|it| it.closes).count() * 2 == of_name().count()
        };
        let kept = inside.iter().filter(|it| !is_even(&it.name));
        kept.map(|it| &html[it.range.clone()]).collect()
    }
}

/// Reads a page from its start.
struct Reader<'a> {
    html: &'a str,
    /// The same, in lower case: every offset is the same.
    lower: String,
    word: Option<Word<'a>>,
    at: usize,
    /// No tag ends any more.
    is_text_from_here: bool,
}

impl<'a> Reader<'a> {
    /// Takes the next tag or character. `false`: there is none.
    fn step(&mut self, page: &mut Page<'a>) -> bool {
        let Some(character) = self.html[self.at..].chars().next() else {
            page.words.extend(self.word.take());
            return false;
        };
        if character == '<'
            && let Some(markup) = self.markup()
        {
            self.at = markup.range.end;
            if !INLINE.contains(&markup.name.as_str()) {
                page.words.extend(self.word.take());
            }
            page.markup.push(markup);
            return true;
        }
        let (said, len) = match self.entity().filter(|_| character == '&') {
            Some(entity) => entity,
            None => (character, character.len_utf8()),
        };
        let range = self.at..self.at + len;
        self.at = range.end;
        if said.is_whitespace() {
            page.words.extend(self.word.take());
        } else {
            self.spell(said, range);
        }
        true
    }

    fn spell(&mut self, said: char, range: Range<usize>) {
        let html = self.html;
        let Some(word) = &mut self.word else {
            let mut text = Cow::Borrowed(&html[range.clone()]);
            if !text.starts_with(said) || text.len() != said.len_utf8() {
                text = Cow::Owned(said.to_string());
            }
            self.word = Some(Word { text, range });
            return;
        };
        // As long as it is written as it is said, in one piece, nothing is copied.
        let written = &html[word.range.start..range.end];
        let is_plain = matches!(&word.text, Cow::Borrowed(text) if text.len() == word.range.len())
            && word.range.end == range.start
            && range.len() == said.len_utf8()
            && html[range.clone()].starts_with(said);
        if is_plain {
            word.text = Cow::Borrowed(written);
        } else {
            word.text.to_mut().push(said);
        }
        word.range.end = range.end;
    }

    /// What begins here with a `<`, if it is no such character itself.
    fn markup(&mut self) -> Option<Markup> {
        let rest = &self.lower[self.at..];
        let ends_at = |from: usize, end: &str| {
            rest[from..].find(end).map(|at| self.at + from + at + end.len())
        };
        let end = self.html.len();
        if rest.starts_with("<!--") {
            let range = self.at..ends_at(4, "-->").unwrap_or(end);
            return Some(Markup { range, name: String::new(), closes: false });
        }
        let inner = &rest[1..];
        let closes = inner.starts_with('/');
        let name_at = 1 + usize::from(closes);
        let name = &rest[name_at..];
        let name_len = name.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, ':' | '-'));
        let name = &name[..name_len.unwrap_or(name.len())];
        let is_markup =
            name.starts_with(|c: char| c.is_ascii_alphabetic()) || inner.starts_with(['!', '?']);
        if !is_markup || self.is_text_from_here || name.len() > NAME_LEN_MAX {
            return None;
        }
        let Some(tag_end) = ends_at(0, ">") else {
            self.is_text_from_here = true;
            return None;
        };
        let range = if SILENT.contains(&name) && !closes {
            let close = format!("</{name}");
            let close = rest.find(&close).and_then(|at| ends_at(at, ">"));
            // A head may end without a word of its own (HTML §13.1.2.4): what is silent in it has its own.
            self.at..close.unwrap_or(if name == "head" { tag_end } else { end })
        } else {
            self.at..tag_end
        };
        // An element that shows nothing is one whole: nothing in it is open.
        let name = if SILENT.contains(&name) { String::new() } else { name.to_owned() };
        Some(Markup { range, name, closes })
    }

    /// The character that an entity says, and how long it is.
    fn entity(&self) -> Option<(char, usize)> {
        let rest = &self.html.as_bytes()[self.at..];
        let rest = &rest[..rest.len().min(ENTITY_LEN_MAX)];
        let len = rest.iter().position(|byte| *byte == b';')?;
        let entity = std::str::from_utf8(rest.get(..=len)?).ok()?;
        let decoded = html_escape::decode_html_entities(entity);
        let mut said = decoded.chars();
        // What is no entity stays as it is.
        let said = said.next().filter(|_| decoded != entity && said.next().is_none())?;
        Some((said, len + 1))
    }
}
