//! Reading the topic: partitions, rebalance, log check.
