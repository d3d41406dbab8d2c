//! Panics of a seed: a task that panics is gone, as its process would be, and others do its work. So
//! they are noticed where they happen, whoever catches them.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// What has panicked on this thread since it was asked last. A seed has a thread to itself.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Lets something happen on this thread, and tells what has panicked meanwhile.
pub(crate) fn noticed(it: impl FnOnce()) -> Vec<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
    PANICS.take();
    // What it panicked with is known by then.
    drop(catch_unwind(AssertUnwindSafe(it)));
    PANICS.take()
}
