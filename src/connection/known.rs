//! One calendar that has two names: a connection keeps the one that it was made with (rule R17).

use booking::{CalendarKind, ProviderId};
use uuid::Uuid;

use super::connection_id;
use crate::store::{Result, Store};

/// Google's word for an account's own calendar, which also has a name of its own: the account's address.
pub const PRIMARY: &str = "primary";

/// Whether a connection's name for its calendar is that of the one that is listed so.
pub fn is_name_of(name: &str, id: &str, is_primary: bool) -> bool {
    name == id || (name == PRIMARY && is_primary)
}

/// The name of a calendar that an account lists by `listed` (its id, and whether it is [`PRIMARY`]): that
/// of a connection that there is or was, so that its events keep their names and are not made again;
/// otherwise the id.
///
/// # Errors
/// The store's.
pub async fn known_name(
    store: &dyn Store,
    (installation, provider, kind): (Uuid, ProviderId, CalendarKind),
    subject: &str,
    (id, is_primary): (String, bool),
) -> Result<String> {
    if is_primary && kind == CalendarKind::Google {
        let known = connection_id(installation, provider, kind, subject, PRIMARY);
        if store.connection(known).await?.is_some() {
            return Ok(PRIMARY.to_owned());
        }
    }
    Ok(id)
}
