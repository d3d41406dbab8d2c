//! One batch: decode, fold, plan, one commit.
