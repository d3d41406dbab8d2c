//! Reads settings by their keys, and gathers every error on the way: a value that is wrong is
//! replaced by a harmless one, and [`Reader::finish`] lets none of them out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use booking::content::Template;
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use url::Url;
use uuid::Uuid;

use super::error::{SettingError, SettingErrors};
use super::given::{Given, Source};
use super::table::{self, Allowed, Key};
use super::value::{self, Problem};

/// Reads what was given.
#[derive(Debug)]
pub struct Reader<'a> {
    given: &'a Given,
    errors: Vec<SettingError>,
    failed: Vec<&'static str>,
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// A reader of what was given.
    pub fn new(given: &'a Given) -> Self {
        Self { given, errors: Vec::new(), failed: Vec::new(), asked: Vec::new() }
    }

    /// What was read, if nothing was wrong anywhere: here, or when the sources were merged.
    pub fn finish<T>(self, read: T) -> Result<T, SettingErrors> {
        let mut errors = self.given.errors.clone();
        errors.extend(self.errors);
        if errors.is_empty() { Ok(read) } else { Err(SettingErrors(errors)) }
    }

    /// The keys that were asked for.
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Notes an error that concerns several keys.
    pub fn complain(&mut self, error: SettingError) {
        self.errors.push(error);
    }

    /// Notes that a value is wrong for a reason that its own text does not show.
    pub fn refuse(&mut self, name: &'static str, problem: Problem) {
        let key = self.key(name);
        let source = self.given.value(key).map_or(Source::Default, |value| value.source);
        self.failed.push(key.name);
        self.errors.push(SettingError::invalid(key, source, problem));
    }

    /// Whether these keys were read without an error, so that they may be compared.
    pub fn sound(&self, names: &[&str]) -> bool {
        names.iter().all(|name| !self.failed.contains(name))
    }

    /// What was given.
    pub fn given(&self) -> &'a Given {
        self.given
    }

    fn key(&mut self, name: &'static str) -> &'static Key {
        let key = table::find(name).expect("settings are read by the names of the table");
        self.asked.push(key.name);
        key
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str, Allowed) -> Result<T, Problem>,
    ) -> Option<T> {
        let key = self.key(name);
        let given = self.given.value(key)?;
        match parse(given.text.expose_secret(), key.allowed) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.failed.push(key.name);
                self.errors.push(SettingError::invalid(key, given.source, problem));
                None
            }
        }
    }

    /// A text; empty if it is wrong.
    pub fn text(&mut self, name: &'static str) -> String {
        self.optional_text(name).unwrap_or_default()
    }

    /// A text that need not be given.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |text, _| value::text(text))
    }

    /// A secret text that need not be given.
    pub fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.read(name, |text, _| {
            value::text(text).map(|mut text| {
                let secret = SecretString::from(text.as_str());
                text.zeroize();
                secret
            })
        })
    }

    /// The store's URL: must be given.
    pub fn store_url(&mut self, name: &'static str) -> (SecretString, super::Backend) {
        let key = self.key(name);
        if self.given.value(key).is_none() {
            self.failed.push(key.name);
            self.errors.push(SettingError::missing(key));
        }
        self.read(name, |text, _| {
            let text = value::text(text)?;
            value::backend(&text).map(|backend| (SecretString::from(text), backend))
        })
        .unwrap_or_else(|| (SecretString::default(), super::Backend::Postgres))
    }

    /// A whole number within the key's range; 0 if it is wrong.
    pub fn number(&mut self, name: &'static str) -> u64 {
        self.read(name, |text, allowed| {
            let Allowed::Number { min, max } = allowed else {
                unreachable!("{name} is read as a number and allows {allowed}");
            };
            value::number(text.trim(), min, max)
        })
        .unwrap_or_default()
    }

    /// The same, where the range fits 32 bits.
    pub fn number32(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.number(name)).expect("the key's range fits 32 bits")
    }

    /// The same, as a count.
    pub fn count(&mut self, name: &'static str) -> usize {
        usize::try_from(self.number(name)).expect("the key's range fits this machine")
    }

    /// A number of milliseconds.
    pub fn millis(&mut self, name: &'static str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    /// A number of seconds.
    pub fn seconds(&mut self, name: &'static str) -> Duration {
        Duration::from_secs(self.number(name))
    }

    /// Rising numbers of seconds.
    pub fn rising_seconds(&mut self, name: &'static str) -> Vec<Duration> {
        let numbers = self.read(name, |text, allowed| {
            let Allowed::Rising { min, max, count_max } = allowed else {
                unreachable!("{name} is read as rising numbers and allows {allowed}");
            };
            value::rising(text, min, max, count_max)
        });
        numbers.unwrap_or_default().into_iter().map(Duration::from_secs).collect()
    }

    /// A number from 0 to 1; 0 if it is wrong.
    pub fn share(&mut self, name: &'static str) -> f64 {
        self.read(name, |text, _| value::share(text.trim())).unwrap_or_default()
    }

    /// Names and values.
    pub fn pairs(&mut self, name: &'static str) -> Vec<(String, String)> {
        self.read(name, |text, _| value::pairs(text)).unwrap_or_default()
    }

    /// `true` or `false`; `false` if it is wrong.
    pub fn flag(&mut self, name: &'static str) -> bool {
        self.read(name, |text, _| value::flag(text)).unwrap_or_default()
    }

    /// On by the literal `true` alone.
    pub fn only_true(&mut self, name: &'static str) -> bool {
        self.read(name, |text, _| Ok(text == "true")).unwrap_or_default()
    }

    /// One of the key's words, as the value at its place in `meanings`.
    pub fn choice<T: Copy, const N: usize>(
        &mut self,
        name: &'static str,
        meanings: [T; N],
    ) -> Option<T> {
        self.read(name, |text, allowed| {
            let Allowed::OneOf(words) = allowed else {
                unreachable!("{name} is read as a choice and allows {allowed}");
            };
            assert_eq!(words.len(), N, "{name} has a meaning for each word");
            let at = words.iter().position(|word| *word == text);
            at.map(|at| meanings[at]).ok_or_else(|| "is none of these".to_owned())
        })
    }

    /// A UUID that need not be given.
    pub fn uuid(&mut self, name: &'static str) -> Option<Uuid> {
        self.read(name, |text, _| value::uuid(text.trim()))
    }

    /// UUIDs.
    pub fn uuids(&mut self, name: &'static str) -> Vec<Uuid> {
        self.read(name, |text, _| value::uuids(text)).unwrap_or_default()
    }

    /// Networks.
    pub fn networks(&mut self, name: &'static str) -> Vec<IpNet> {
        self.read(name, |text, _| value::networks(text)).unwrap_or_default()
    }

    /// A moment that need not be given.
    pub fn moment(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        self.read(name, |text, _| value::moment(text.trim()))
    }

    /// A URL that need not be given.
    pub fn url(&mut self, name: &'static str) -> Option<Url> {
        self.read(name, |text, _| value::http_url(text))
    }

    /// A URL to which secrets are sent; one that is nobody's if it is wrong.
    pub fn secure_url(&mut self, name: &'static str) -> Url {
        let nobody = || Url::parse("https://calendar-sync.invalid").expect("it is a URL");
        self.read(name, |text, _| value::secure_url(text)).unwrap_or_else(nobody)
    }

    /// The same, where it need not be given.
    pub fn optional_secure_url(&mut self, name: &'static str) -> Option<Url> {
        self.read(name, |text, _| value::secure_url(text))
    }

    /// Origins.
    pub fn origins(&mut self, name: &'static str) -> Vec<Url> {
        self.read(name, |text, _| value::origins(text)).unwrap_or_default()
    }

    /// Where to listen.
    pub fn listen(&mut self, name: &'static str) -> SocketAddr {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        self.read(name, |text, _| value::listen(text)).unwrap_or(nowhere)
    }

    /// A token that need not be given.
    pub fn token(&mut self, name: &'static str) -> Option<SecretString> {
        self.read(name, |text, _| value::token(text)).map(SecretString::from)
    }

    /// A template; an empty one if it is wrong.
    pub fn template(&mut self, name: &'static str) -> Template {
        let read = self.read(name, |text, _| value::template(text));
        read.unwrap_or_else(|| Template::parse("").expect("an empty text is a template"))
    }

    /// A domain; empty if it is wrong.
    pub fn domain(&mut self, name: &'static str) -> String {
        self.read(name, |text, _| value::domain(text)).unwrap_or_default()
    }

    /// 32 bytes that need not be given.
    pub fn key32(&mut self, name: &'static str) -> Option<SecretBox<[u8; 32]>> {
        self.read(name, |text, _| value::key32(text))
    }

    /// Keys with their names; none if they are wrong.
    pub fn named_keys(&mut self, name: &'static str) -> Vec<value::NamedKey> {
        self.read(name, |text, _| value::named_keys(text)).unwrap_or_default()
    }

    /// A path that need not be given.
    pub fn file(&mut self, name: &'static str) -> Option<PathBuf> {
        self.read(name, |text, _| value::text(text).map(PathBuf::from))
    }

    /// A log filter; empty if it is wrong.
    pub fn log_filter(&mut self, name: &'static str) -> String {
        self.read(name, |text, _| value::log_filter(text)).unwrap_or_default()
    }
}
