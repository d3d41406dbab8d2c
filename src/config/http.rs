//! Where calendars may be.

use super::reader::Reader;
use super::table::{Allowed, Key, key};
use crate::calendar::http::{Networks, Roots};

/// Where calendars may be, and whose word for them is taken.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// What is reached beside public servers with TLS.
    pub networks: Networks,
    /// Authorities beside the system's.
    pub roots: Roots,
}

impl HttpSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let networks = Networks {
            allowed: reader.networks("http.allow_networks"),
            plain: reader.networks("http.plain_networks"),
        };
        let file = reader.file("http.ca_file");
        let roots = file.and_then(|path| {
            let pem =
                super::given::read(&path).map_err(|reason| format!("cannot be read: {reason}"));
            let roots = pem.and_then(|pem| {
                Roots::parse(&pem).map_err(|problem| format!("names a file that {problem}"))
            });
            roots.map_err(|problem| reader.refuse("http.ca_file", problem)).ok()
        });
        Self { networks, roots: roots.unwrap_or_default() }
    }
}

/// The settings.
pub(super) const HTTP: &[Key] = &[
    key(
        "http.allow_networks",
        Allowed::Networks,
        Some(""),
        "Where calendars may be although it is not on the public Internet: private networks, this \
         machine (`127.0.0.0/8,::1/128`). Everything else that is not public is refused.",
    ),
    key(
        "http.plain_networks",
        Allowed::Networks,
        Some(""),
        "Where calendars may be asked by `http://`, without TLS. This machine may always be, if it is \
         allowed at all.",
    ),
    key(
        "http.ca_file",
        Allowed::File,
        None,
        "Authorities (PEM) that calendars' certificates may be from, beside the system's.",
    ),
];
