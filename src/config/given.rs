//! What was given: the file and the environment, merged by key, each value with its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::error::SettingError;
use super::table::{self, Allowed, Key, PROPERTIES, PROPERTIES_VARIABLE};

/// Names the settings file, where `--config` does not.
pub const CONFIG_VARIABLE: &str = "CALENDAR_SYNC_CONFIG";

/// The start of the legacy allowlists' variables. A slip in the rest of such a name would allow
/// all, so one that we do not know is an error.
const ALLOWLIST_VARIABLE: &str = "CALENDAR_ALLOWLIST_";

/// The largest settings file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What stands for a secret.
const MASK: &str = "***";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// The settings file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Environment(name) => write!(f, "from {name}"),
        }
    }
}

/// The file and the environment, merged; not yet understood.
#[derive(Debug, Clone)]
pub struct Given {
    values: BTreeMap<&'static str, Value>,
    properties: BTreeMap<String, Value>,
    /// What was wrong on the way here.
    pub(super) errors: Vec<SettingError>,
}

/// A text and its origin. Any text may be a secret until its key says otherwise.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) text: SecretString,
    pub(super) source: Source,
}

/// One setting as it is in effect, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its dotted name.
    pub key: String,
    /// Its value, secrets masked; `None`: there is none.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// The process's environment. What is not UTF-8 is marked by U+FFFD, which no setting accepts.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// One variable that is no setting (a password handed to a command); `None` if unset or empty.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub fn variable(name: &str) -> Option<SecretString> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from)
}

impl Given {
    /// Reads the process's environment and the file `path`, or else the one that
    /// [`CONFIG_VARIABLE`] names, if any.
    pub fn load(path: Option<&Path>) -> Self {
        let environment = environment();
        let named = environment.get(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        let path = path.map(Path::to_owned).or_else(|| named.map(PathBuf::from));
        let (text, error) = match path.as_deref().map(read) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(reason)) => {
                let path = path.clone().unwrap_or_default();
                (None, Some(SettingError::Unreadable { path, reason }))
            }
        };
        let mut given = Self::of(path.as_deref().zip(text.as_deref()), environment);
        given.errors.extend(error);
        given
    }

    /// Merges a file's text (with its path, for errors) and an environment.
    pub fn of(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut given =
            Self { values: BTreeMap::new(), properties: BTreeMap::new(), errors: Vec::new() };
        if let Some((path, text)) = file {
            given.read_file(path, text);
        }
        given.read_environment(&environment.into_iter().collect());
        given
    }

    fn read_file(&mut self, path: &Path, text: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map_or(1, |before| before.matches('\n').count() + 1);
                let reason = error.message().to_owned();
                self.errors.push(SettingError::Syntax { path: path.to_owned(), line, reason });
                return;
            }
        };
        let mut leaves = Vec::new();
        flatten("", &toml::Value::Table(table), &mut leaves);
        let source = Source::File(path.to_owned());
        for (name, text) in leaves {
            if let Some(key) = table::find(&name) {
                self.put_from_file(key, text, &source);
            } else if let Some(property) = name.strip_prefix(PROPERTIES) {
                self.put_property(property, text.unwrap_or_default(), source.clone());
            } else {
                let (nearest, origin) = (nearest(&name), source.clone());
                self.errors.push(SettingError::Unknown { name, origin, nearest });
            }
        }
    }

    fn put_from_file(&mut self, key: &'static Key, text: Option<String>, source: &Source) {
        let Some(text) = text else {
            let problem = "is neither a text, a number, a truth value nor a list".to_owned();
            self.errors.push(SettingError::invalid(key, source.clone(), problem));
            return;
        };
        let value = Value { text: text.into(), source: source.clone() };
        self.values.insert(key.name, value);
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        for key in table::keys() {
            let name = key.variable();
            if let Some(text) = environment.get(&name)
                && (key.may_be_empty() || !text.is_empty())
            {
                let value = Value { text: text.as_str().into(), source: Source::Environment(name) };
                self.values.insert(key.name, value);
            }
        }
        for (name, text) in environment {
            if let Some(rest) = name.strip_prefix(PROPERTIES_VARIABLE) {
                let property = rest.to_lowercase().replace('_', ".");
                self.put_property(&property, text.clone(), Source::Environment(name.clone()));
            }
            let known = || table::keys().any(|key| key.variable() == *name);
            if name.starts_with(ALLOWLIST_VARIABLE) && !known() {
                let (name, origin) = (name.clone(), Source::Environment(name.clone()));
                self.errors.push(SettingError::Unknown {
                    nearest: nearest_variable(&name),
                    name,
                    origin,
                });
            }
        }
    }

    fn put_property(&mut self, property: &str, text: String, origin: Source) {
        if let Some(why) = super::kafka::not_passed_on(property) {
            let name = format!("{PROPERTIES}{property}");
            self.errors.push(SettingError::Property { name, origin, why });
            return;
        }
        let value = Value { text: text.into(), source: origin };
        self.properties.insert(property.to_owned(), value);
    }

    /// What is in effect for a key: what was given, or its default.
    pub(super) fn value(&self, key: &Key) -> Option<Value> {
        let default =
            || key.default.map(|text| Value { text: text.into(), source: Source::Default });
        self.values.get(key.name).cloned().or_else(default)
    }

    /// Whether somebody gave a value for a key.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// What a key is if nobody gave a value: another default than the table's, for a command that
    /// brings its own parts along. `name` must be a setting.
    pub fn fall_back(&mut self, name: &str, text: &str) {
        let key = table::find(name).expect("a command falls back on settings that there are");
        let value = || Value { text: text.into(), source: Source::Default };
        self.values.entry(key.name).or_insert_with(value);
    }

    /// librdkafka's properties, by name.
    pub(super) fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.properties.iter()
    }

    /// Every setting as it is in effect, in the order of the table, secrets masked.
    pub fn effective(&self) -> Vec<Effective> {
        let mut all: Vec<_> = table::keys().map(|key| self.effective_of(key)).collect();
        all.extend(self.properties().map(|(name, value)| Effective {
            key: format!("{PROPERTIES}{name}"),
            value: Some(shown_property(name, value.text.expose_secret())),
            source: value.source.clone(),
        }));
        all
    }

    fn effective_of(&self, key: &Key) -> Effective {
        let value = self.value(key);
        let source = value.as_ref().map_or(Source::Default, |value| value.source.clone());
        let value = value.map(|value| shown(key, value.text.expose_secret()));
        Effective { key: key.name.to_owned(), value, source }
    }
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Err(error) => Err(error.to_string()),
        Ok(length) if length as u64 > FILE_BYTES_MAX => {
            Err(format!("it has more than {FILE_BYTES_MAX} bytes"))
        }
        Ok(_) => Ok(text),
    }
}

/// The leaves of a table by dotted name, as texts; `None` where there is no such text.
fn flatten(name: &str, value: &toml::Value, leaves: &mut Vec<(String, Option<String>)>) {
    if let toml::Value::Table(table) = value {
        for (part, value) in table {
            let name = if name.is_empty() { part.clone() } else { format!("{name}.{part}") };
            flatten(&name, value, leaves);
        }
        return;
    }
    let text = if let toml::Value::Array(items) = value {
        items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(","))
    } else {
        scalar(value)
    };
    leaves.push((name.to_owned(), text));
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(moment) => Some(moment.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

/// How like two names must be for one to be offered in place of the other.
const LIKENESS_MIN: f64 = 0.6;

fn nearest(name: &str) -> Option<String> {
    if let Some(key) = table::keys().find(|key| key.variable().eq_ignore_ascii_case(name)) {
        return Some(key.name.to_owned());
    }
    most_like(name, table::keys().map(|key| key.name.to_owned()))
}

fn nearest_variable(name: &str) -> Option<String> {
    most_like(name, table::keys().map(Key::variable))
}

fn most_like(name: &str, others: impl Iterator<Item = String>) -> Option<String> {
    let rated = others.map(|other| (strsim::normalized_damerau_levenshtein(name, &other), other));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).map(|(_, other)| other)
}

/// A value as it may be shown.
fn shown(key: &Key, text: &str) -> String {
    if key.allowed == Allowed::StoreUrl {
        shown_url(text)
    } else if key.secret {
        MASK.to_owned()
    } else {
        text.to_owned()
    }
}

/// A database's URL with its password masked; what is no URL is masked whole.
fn shown_url(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else {
        return MASK.to_owned();
    };
    // A query may hold a password as well (`?password=`).
    let has_query = url.query().is_some();
    url.set_query(has_query.then_some(MASK));
    let masked = url.password().is_none() || url.set_password(Some(MASK)).is_ok();
    if masked { url.to_string() } else { MASK.to_owned() }
}

/// Properties whose names tell of nothing secret are shown.
fn shown_property(name: &str, text: &str) -> String {
    let secret = ["password", "secret", "key", "pem", "config", "token"];
    if secret.iter().any(|word| name.contains(word)) { MASK.to_owned() } else { text.to_owned() }
}
