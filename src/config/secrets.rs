//! What seals credentials, from the settings or from files that they name.

use std::path::Path;

use secrecy::zeroize::Zeroizing;
use secrecy::{SecretBox, SecretString};

use super::checks;
use super::given;
use super::reader::Reader;
use super::value::{self, NamedKey, Problem};
use crate::connection::seal::KEY_ID_LEN_MAX;

/// What seals credentials.
#[derive(Debug)]
pub struct SecretSettings {
    /// The key; `None`: none is set, and no credentials can be sealed or opened.
    pub key: Option<SecretBox<[u8; 32]>>,
    /// Its name.
    pub key_id: String,
    /// What opens and seals no more, each with its name.
    pub old_keys: Vec<NamedKey>,
}

impl SecretSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let given = reader.key32("secrets.key");
        let file = reader.file("secrets.key_file");
        let key_id = reader.text("secrets.key_id");
        if key_id.len() > KEY_ID_LEN_MAX {
            reader.refuse("secrets.key_id", format!("has more than {KEY_ID_LEN_MAX} bytes"));
        }
        let from_file = file.as_deref().and_then(|path| {
            content(reader, "secrets.key_file", path, |text| value::key32(text.trim()))
        });
        let key_given = given.is_some() || !reader.sound(&["secrets.key"]);
        checks::one_place(reader, "secrets.key_file", [key_given, file.is_some()]);
        let old_keys = old_keys(reader);
        if old_keys.iter().any(|(name, _)| *name == key_id) {
            reader.refuse("secrets.key_id", "is the name of an old key as well".to_owned());
        }
        Self { key: given.or(from_file), key_id, old_keys }
    }
}

fn old_keys(reader: &mut Reader<'_>) -> Vec<NamedKey> {
    let given = reader.named_keys("secrets.old_keys");
    let file = reader.file("secrets.old_keys_file");
    let is_given = !given.is_empty() || !reader.sound(&["secrets.old_keys"]);
    checks::one_place(reader, "secrets.old_keys_file", [is_given, file.is_some()]);
    let from_file = file
        .as_deref()
        .and_then(|path| content(reader, "secrets.old_keys_file", path, value::named_keys));
    if given.is_empty() { from_file.unwrap_or_default() } else { given }
}

/// A secret that stands in the setting `name`, or in the file that `file_name` names: one line.
pub(super) fn secret_or_file(
    reader: &mut Reader<'_>,
    name: &'static str,
    file_name: &'static str,
) -> Option<SecretString> {
    let given = reader.secret(name);
    let file = reader.file(file_name);
    let is_given = given.is_some() || !reader.sound(&[name]);
    checks::one_place(reader, file_name, [is_given, file.is_some()]);
    let from_file = file.as_deref().and_then(|path| {
        content(reader, file_name, path, |text| value::text(text.trim_end_matches(['\r', '\n'])))
    });
    given.or(from_file.map(SecretString::from))
}

/// What a file holds that the setting `name` names; `None` if that is wrong, and noted.
fn content<T>(
    reader: &mut Reader<'_>,
    name: &'static str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, Problem>,
) -> Option<T> {
    let parsed = given::read(path)
        .map_err(|reason| format!("cannot be read: {reason}"))
        .map(Zeroizing::new)
        .and_then(|text| {
            parse(&text).map_err(|problem| format!("names a file whose content {problem}"))
        });
    parsed.map_err(|problem| reader.refuse(name, problem)).ok()
}
