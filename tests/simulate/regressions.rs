//! Seeds that once failed, and what each taught. They are let happen before all others.

/// A seed that once failed.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What it taught.
    pub taught: &'static str,
}

/// All of them.
pub const ALL: &[Regression] = &[
    Regression {
        seed: 2,
        taught: "a database that lost a stamp and no cursor forgot a call that was made; the \
                 booking was cancelled before it was made again, and the event was left behind",
    },
    Regression {
        seed: 255,
        taught: "a calendar that was ahead while a delete was on its way left a burned generation \
                 that is wanted again: its delete was never stamped, and held up the whole lane",
    },
    Regression {
        seed: 208,
        taught: "Graph makes nothing anew under a transactionId that it remembers: an event that \
                 the host had deleted never came back",
    },
    Regression {
        seed: 4297,
        taught: "an event is not found for a moment after its insert: a cancellation in that \
                 moment met 404 twice, and the event stayed",
    },
    Regression {
        seed: 4685,
        taught: "after a database fell back, a create met the transactionId of a deleted event",
    },
];
