//! Seeds that failed without what each taught. They are let happen before all others. Whoever changes
//! what is drawn looks for other ones: without the rule they have to fail.

/// A seed that once failed.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What it taught.
    pub taught: &'static str,
    /// What it has to come to, or there is nothing in it any more: see [`crate::coverage`]. `None`: it
    /// does not come to it any more, and another seed is to be found.
    pub reaches: Option<&'static str>,
}

/// All of them.
pub const ALL: &[Regression] = &[
    Regression {
        seed: 4406,
        taught: "a database that lost a stamp and no cursor forgot a call that was made; the \
                 booking was cancelled before it was made again, and the event was left behind",
        reaches: Some("database fell back, another server"),
    },
    Regression {
        seed: 541,
        taught: "a calendar that was ahead while a delete was on its way left a burned generation \
                 that is wanted again: its delete was never stamped, and held up the whole lane",
        reaches: None,
    },
    Regression {
        seed: 8,
        taught: "Graph makes nothing anew under a transactionId that it remembers: an event that \
                 the host had deleted never came back",
        reaches: Some("found gone"),
    },
    Regression {
        seed: 2953,
        taught: "an event is not found for a moment after its insert: a cancellation in that \
                 moment met 404 twice, and the event stayed",
        reaches: Some("found absent"),
    },
    Regression {
        seed: 6983,
        taught: "after a database fell back, a create met the transactionId of a deleted event",
        reaches: None,
    },
    Regression {
        seed: 912,
        taught: "a generation that the database had forgotten was deleted by a verification, and its \
                 name used again",
        reaches: None,
    },
    Regression {
        seed: 12_649,
        taught: "what was made anew on two 404s met an insert of before, which was answered as if \
                 it had been made",
        reaches: Some("verified: differs"),
    },
    Regression {
        seed: 19_793,
        taught: "what an old partition still held, redriven, put a booking back to what it was \
                 before",
        reaches: Some("partition added"),
    },
    Regression {
        seed: 114,
        taught: "an event that was found gone, and that nobody wanted any more, kept its host busy \
                 in the booking application's table",
        reaches: Some("found gone"),
    },
];
