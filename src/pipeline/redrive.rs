//! The way out of a dead letter: read it again, fold it again, settle it with what that did.

use booking::{Arrival, Poison};

use super::fold_batch::{Item, fold_items};
use super::schemas::{self, SchemaError};
use super::{Pipeline, STALE_TRIES_MAX};
use crate::store::{Committed, DeadState, Origin, StoreError, Witness};

/// What redriving a dead letter came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redriven {
    /// Its event was folded; the word is the journal's (`visible`, `stale`, …).
    Folded(&'static str),
    /// Its record says nothing: a tombstone.
    Nothing,
    /// Its effect is due again.
    Due,
}

/// Why a dead letter was not redriven. It stays open.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// There is none of that id.
    #[error("there is no dead letter {id}")]
    Missing {
        /// As asked.
        id: i64,
    },
    /// It was redriven or discarded before.
    #[error("dead letter {id} is {} already", state.name())]
    Settled {
        /// As asked.
        id: i64,
        /// What became of it.
        state: DeadState,
    },
    /// It cannot be read or folded now either.
    #[error("dead letter {id} is still dead")]
    StillDead {
        /// As asked.
        id: i64,
        /// Why.
        #[source]
        poison: Poison,
    },
    /// The registry does not answer.
    #[error("dead letter {id} could not be read")]
    Schema {
        /// As asked.
        id: i64,
        /// Why.
        #[source]
        source: SchemaError,
    },
    /// The database refuses its content, or bookings kept changing under it.
    #[error("dead letter {id} could not be stored: {detail}")]
    NotStored {
        /// As asked.
        id: i64,
        /// Why.
        detail: String,
    },
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Pipeline {
    /// Redrives one dead letter. Redriving something old does no harm: what its booking has seen
    /// since decides (rule R6).
    pub async fn redrive(&self, id: i64) -> Result<Redriven, RedriveError> {
        let letter = self.store.dead_letter(id).await?.ok_or(RedriveError::Missing { id })?;
        if letter.state != DeadState::Open {
            return Err(RedriveError::Settled { id, state: letter.state });
        }
        let record = match letter.origin {
            Origin::Record(record) => record,
            Origin::Effect { .. } if self.store.revive(id).await? => return Ok(Redriven::Due),
            Origin::Effect { .. } => {
                let detail = "its effect is not there any more".to_owned();
                return Err(RedriveError::NotStored { id, detail });
            }
        };
        self.schemas.ask_anew();
        let reading = schemas::read(
            &self.contract,
            self.schemas.as_ref(),
            &record.headers,
            record.payload.as_deref(),
            &self.rules.uid_domain,
        );
        let reading = reading.await.map_err(|error| match error {
            SchemaError::Poison(poison) => RedriveError::StillDead { id, poison },
            SchemaError::Unavailable { .. } => RedriveError::Schema { id, source: error },
        })?;
        let witness = Witness { timestamp_ms: record.timestamp_ms, checksum: 0 };
        self.redrive_reading(id, &Item::new(record, witness, reading)).await
    }

    async fn redrive_reading(&self, id: i64, item: &Item) -> Result<Redriven, RedriveError> {
        let run = std::slice::from_ref(item);
        for _ in 0..STALE_TRIES_MAX {
            let batch =
                fold_items(self.store.as_ref(), &self.rules, run, Arrival::Redriven, false).await?;
            if let Some(dead) = batch.dead_letters.first() {
                let poison = Poison::new(dead.class, dead.reason.clone());
                return Err(RedriveError::StillDead { id, poison });
            }
            match self.store.redrive(id, &batch).await? {
                Committed::Done => {
                    let folded = batch.journal.first().map(|entry| entry.decision);
                    return Ok(folded.map_or(Redriven::Nothing, Redriven::Folded));
                }
                Committed::Stale => {}
                Committed::Refused { detail } => {
                    return Err(RedriveError::NotStored { id, detail });
                }
                Committed::Foreign | Committed::Elsewhere { .. } => {
                    unreachable!("a redriven record moves no cursor")
                }
            }
        }
        let detail = "its booking kept changing meanwhile; try again".to_owned();
        Err(RedriveError::NotStored { id, detail })
    }
}
