//! `$filter`: the part of the `OData` language that Graph's events understand.
//!
//! `singleValueExtendedProperties/Any(ep: ep/id eq '…' and ep/value eq '…')`, comparisons of some
//! fields, `contains` and `startswith`, joined by `and`, `or`, `not` and brackets. A quote within a
//! text is doubled.

use std::iter::Peekable;
use std::vec::IntoIter;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::errors::ApiError;
use super::event::Stored;
use super::property::PropertyId;
use super::times::parse_parameter;

/// How deep brackets may go.
const DEPTH_MAX: usize = 16;
/// How many words a filter may have.
const TOKENS_MAX: usize = 512;

/// A filter, understood.
#[derive(Debug)]
pub(super) enum Filter {
    Both(Box<Filter>, Box<Filter>),
    Either(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Property(PropertyId, Comparison),
    Text(&'static str, Comparison),
    Flag(&'static str, bool),
    Time(Moment, Operator, DateTime<Utc>),
}

/// How a text is compared: without regard to case, which is how Exchange compares (B5).
#[derive(Debug)]
pub(super) enum Comparison {
    Is(String),
    IsNot(String),
    Contains(String),
    StartsWith(String),
    /// `ne null`.
    IsThere,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    Start,
    End,
    Created,
    Modified,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    fn holds(&self, text: Option<&str>) -> bool {
        let lower = text.map(str::to_lowercase);
        match (self, lower.as_deref()) {
            (Self::IsNot(wanted), found) => found != Some(&wanted.to_lowercase()),
            (_, None) => false,
            (Self::IsThere, Some(_)) => true,
            (Self::Is(wanted), Some(found)) => found == wanted.to_lowercase(),
            (Self::Contains(part), Some(found)) => found.contains(&part.to_lowercase()),
            (Self::StartsWith(part), Some(found)) => found.starts_with(&part.to_lowercase()),
        }
    }
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut words = Words { tokens: tokens(text)?.into_iter().peekable(), depth: 0 };
        let filter = words.either()?;
        match words.tokens.next() {
            None => Ok(filter),
            Some(_) => Err(wrong("there is more than a filter")),
        }
    }

    /// Whether it looks at extended properties anywhere: such a search goes over the mailbox.
    pub(super) fn asks_for_property(&self) -> bool {
        match self {
            Self::Both(one, other) | Self::Either(one, other) => {
                one.asks_for_property() || other.asks_for_property()
            }
            Self::Not(filter) => filter.asks_for_property(),
            Self::Property(..) => true,
            Self::Text(..) | Self::Flag(..) | Self::Time(..) => false,
        }
    }

    pub(super) fn holds(&self, event: &Stored) -> bool {
        match self {
            Self::Both(one, other) => one.holds(event) && other.holds(event),
            Self::Either(one, other) => one.holds(event) || other.holds(event),
            Self::Not(filter) => !filter.holds(event),
            Self::Property(id, comparison) => comparison.holds(event.properties.get(id)),
            Self::Text("iCalUId", comparison) => comparison.holds(Some(&event.ical_uid)),
            Self::Text(name, comparison) => {
                comparison.holds(Some(event.text(name).unwrap_or_default()))
            }
            Self::Flag("isAllDay", wanted) => event.all_day == *wanted,
            Self::Flag(name, wanted) => {
                event.fields.get(*name).unwrap_or(&Value::Null) == &json!(wanted)
            }
            Self::Time(moment, operator, wanted) => {
                let at = match moment {
                    Moment::Start => event.start.at,
                    Moment::End => event.end.at,
                    Moment::Created => event.created,
                    Moment::Modified => event.modified,
                };
                match operator {
                    Operator::Eq => at == *wanted,
                    Operator::Ne => at != *wanted,
                    Operator::Lt => at < *wanted,
                    Operator::Le => at <= *wanted,
                    Operator::Gt => at > *wanted,
                    Operator::Ge => at >= *wanted,
                }
            }
        }
    }
}

fn wrong(why: &str) -> ApiError {
    ApiError::bad_request(&format!("Invalid filter clause: {why}."))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, a path, a number or an operator.
    Word(String),
    /// A text, its quotes undone.
    Text(String),
    Open,
    Close,
    Colon,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, ApiError> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let token = match letter {
            ' ' => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ':' => Token::Colon,
            ',' => Token::Comma,
            '\'' => {
                let mut inner = String::new();
                loop {
                    match letters.next() {
                        Some('\'') if letters.peek() == Some(&'\'') => {
                            letters.next();
                            inner.push('\'');
                        }
                        Some('\'') => break,
                        Some(letter) => inner.push(letter),
                        None => return Err(wrong("a text has no closing quote")),
                    }
                }
                Token::Text(inner)
            }
            letter if is_of_word(letter) => {
                let mut word = letter.to_string();
                while let Some(next) = letters.next_if(|letter| is_of_word(*letter)) {
                    word.push(next);
                }
                // A time has colons of its own.
                while word.contains('T') && word.starts_with(|it: char| it.is_ascii_digit()) {
                    let Some(next) = letters.next_if(|it| *it == ':' || is_of_word(*it)) else {
                        break;
                    };
                    word.push(next);
                }
                Token::Word(word)
            }
            letter => return Err(wrong(&format!("the character '{letter}' is not valid"))),
        };
        if found.len() == TOKENS_MAX {
            return Err(wrong("it is too long"));
        }
        found.push(token);
    }
    Ok(found)
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '/' | '_' | '.' | '-' | '+')
}

struct Words {
    tokens: Peekable<IntoIter<Token>>,
    depth: usize,
}

impl Words {
    fn is_next(&mut self, word: &str) -> bool {
        let is = |token: &Token| matches!(token, Token::Word(next) if next == word);
        self.tokens.next_if(is).is_some()
    }

    fn expect(&mut self, token: &Token) -> Result<(), ApiError> {
        match self.tokens.next() {
            Some(next) if next == *token => Ok(()),
            other => Err(wrong(&format!("expected {token:?}, found {other:?}"))),
        }
    }

    fn word(&mut self) -> Result<String, ApiError> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(wrong(&format!("expected a name, found {other:?}"))),
        }
    }

    fn text(&mut self) -> Result<String, ApiError> {
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(text),
            other => Err(wrong(&format!("expected a text, found {other:?}"))),
        }
    }

    fn either(&mut self) -> Result<Filter, ApiError> {
        let mut filter = self.both()?;
        while self.is_next("or") {
            filter = Filter::Either(Box::new(filter), Box::new(self.both()?));
        }
        Ok(filter)
    }

    fn both(&mut self) -> Result<Filter, ApiError> {
        let mut filter = self.one()?;
        while self.is_next("and") {
            filter = Filter::Both(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, ApiError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(wrong("it is too deep"));
        }
        let filter = self.one_inside();
        self.depth -= 1;
        filter
    }

    fn one_inside(&mut self) -> Result<Filter, ApiError> {
        if self.is_next("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.tokens.next_if_eq(&Token::Open).is_some() {
            let filter = self.either()?;
            self.expect(&Token::Close)?;
            return Ok(filter);
        }
        let word = self.word()?;
        match word.as_str() {
            "singleValueExtendedProperties/Any" | "singleValueExtendedProperties/any" => self.any(),
            "contains" | "startswith" => {
                self.expect(&Token::Open)?;
                let name = text_field(&self.word()?)?;
                let comparison = self.function(&word)?;
                Ok(Filter::Text(name, comparison))
            }
            _ => self.comparison(&word),
        }
    }

    /// The rest of `contains(name,'text')` after the name.
    fn function(&mut self, name: &str) -> Result<Comparison, ApiError> {
        self.expect(&Token::Comma)?;
        let text = self.text()?;
        self.expect(&Token::Close)?;
        let is_contains = name == "contains";
        Ok(if is_contains { Comparison::Contains(text) } else { Comparison::StartsWith(text) })
    }

    /// `(ep: ep/id eq '…' and ep/value eq '…')`.
    fn any(&mut self) -> Result<Filter, ApiError> {
        self.expect(&Token::Open)?;
        let variable = self.word()?;
        self.expect(&Token::Colon)?;
        let (own_id, own_value) = (format!("{variable}/id"), format!("{variable}/value"));
        let named = |word: &str| word == own_id;
        if !named(&self.word()?) || !self.is_next("eq") {
            return Err(wrong("an extended property is asked for by 'id eq' first"));
        }
        let id = PropertyId::expect(&self.text()?)?;
        if !self.is_next("and") {
            return Err(wrong("an extended property is asked for by its value, too"));
        }
        let word = self.word()?;
        let comparison = match word.as_str() {
            "contains" | "startswith" => {
                self.expect(&Token::Open)?;
                if self.word()? != own_value {
                    return Err(wrong("only a value can be looked into"));
                }
                self.function(&word)?
            }
            word if word == own_value => match self.word()?.as_str() {
                "eq" => Comparison::Is(self.text()?),
                "ne" if self.is_next("null") => Comparison::IsThere,
                "ne" => Comparison::IsNot(self.text()?),
                other => return Err(wrong(&format!("'{other}' does not compare a value"))),
            },
            other => return Err(wrong(&format!("'{other}' is no part of a property"))),
        };
        self.expect(&Token::Close)?;
        Ok(Filter::Property(id, comparison))
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, ApiError> {
        let moment = match name {
            "start/dateTime" => Some(Moment::Start),
            "end/dateTime" => Some(Moment::End),
            "createdDateTime" => Some(Moment::Created),
            "lastModifiedDateTime" => Some(Moment::Modified),
            _ => None,
        };
        let operator = match self.word()?.as_str() {
            "eq" => Operator::Eq,
            "ne" => Operator::Ne,
            "lt" => Operator::Lt,
            "le" => Operator::Le,
            "gt" => Operator::Gt,
            "ge" => Operator::Ge,
            other => return Err(wrong(&format!("'{other}' is no operator"))),
        };
        if let Some(moment) = moment {
            let text = match self.tokens.next() {
                Some(Token::Word(text) | Token::Text(text)) => text,
                other => return Err(wrong(&format!("expected a time, found {other:?}"))),
            };
            let at = parse_parameter(&text).ok_or_else(|| wrong("a time is none"))?;
            return Ok(Filter::Time(moment, operator, at));
        }
        let is_equal = match operator {
            Operator::Eq => true,
            Operator::Ne => false,
            Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge => {
                return Err(wrong("texts and flags are equal or not"));
            }
        };
        for flag in ["isAllDay", "isReminderOn", "isOnlineMeeting"] {
            if name == flag {
                let wanted = match self.word()?.as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(wrong("a flag is true or false")),
                };
                return Ok(Filter::Flag(flag, wanted == is_equal));
            }
        }
        let field = text_field(name)?;
        let text = self.text()?;
        let comparison = if is_equal { Comparison::Is(text) } else { Comparison::IsNot(text) };
        Ok(Filter::Text(field, comparison))
    }
}

/// The fields that can be searched as texts. Not `transactionId` (B4).
fn text_field(name: &str) -> Result<&'static str, ApiError> {
    let known = ["subject", "iCalUId", "showAs", "importance", "sensitivity"];
    known.into_iter().find(|known| *known == name).ok_or_else(|| {
        ApiError::bad_request(&format!(
            "Could not find a property named '{name}' on type 'microsoft.graph.event', or it \
             cannot be filtered by."
        ))
    })
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
