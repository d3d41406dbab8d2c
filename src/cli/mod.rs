//! The commands, one file each.

pub mod publish;

pub mod encode;
