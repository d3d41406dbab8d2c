//! Microsoft's own client.

use std::process::Command;

use super::{Graph, TOKEN};
use crate::services;

#[tokio::test]
async fn microsofts_own_client_finds_what_it_expects() {
    let name = "microsofts_own_client_finds_what_it_expects";
    let Some(python) = services::graph_client(name) else {
        return;
    };
    let graph = Graph::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/graph_client.py");
    let mut command = Command::new(python);
    command.args([script, &graph.emulator.base_url(), TOKEN, &graph.calendar]);
    let run = tokio::task::spawn_blocking(move || command.output()).await;
    let output = run.expect("it ran").expect("there is a Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(graph.emulator.deleted_events(&graph.calendar).len(), 3);
    assert_eq!(graph.all().len(), 0);
}
