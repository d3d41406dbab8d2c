//! Waiting for a condition: looked at again and again until it holds, or has not for too long.

use std::time::Duration;

/// The longest that is waited for, where nobody names another bound.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The pause before a condition is looked at again.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until it is so, which must be within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let found = found(PATIENCE, async || is_so().await.then_some(())).await;
    assert!(found.is_some(), "waited in vain until {what}");
}

/// Looks until there is something; `None`: nothing has come within that time.
pub(crate) async fn found<T>(
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(within, looking).await.ok()
}
