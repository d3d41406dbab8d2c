//! What stands in labels, and what Prometheus's own tool says of all of it.

use std::collections::BTreeSet;
use std::process::Stdio;

use calendar_sync::ops::metrics::classic::classic;
use calendar_sync::ops::metrics::table;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::sending::{count, told};
use crate::end_to_end::host::{INVALID, Trouble};
use crate::end_to_end::story::{Story, provider};
use crate::end_to_end::world::{Connected, World, until};
use crate::exposition::Exposition;
use crate::services;

/// The metrics whose names are from before, and which `promtool` cannot like.
const OF_BEFORE: [&str; 2] = ["calendar_sync_latency_ms", "calendar_sync_items_processed"];

const HOSTS: u128 = 5;
const BOOKINGS: usize = 12;

/// Many hosts' bookings, and a few of all troubles.
async fn busy(world: &mut World) -> (Vec<Connected>, Vec<Story>, Exposition) {
    count(world);
    let (mut hosts, mut stories) = (Vec::new(), Vec::new());
    for number in 1..=HOSTS {
        hosts.push(world.connect(number).await);
        for booking in 0..BOOKINGS {
            stories.push(Story::of(&format!("of-{number}-{booking}"), provider(number)));
        }
    }
    world.host.order(3, Trouble::AnswerLost);
    world.host.order(3, INVALID);
    let busy =
        Trouble::Refused { status: 429, reason: "rateLimitExceeded", retry_after_s: Some(1) };
    world.host.order(1, busy);
    let created: Vec<_> = stories.iter_mut().map(Story::created).collect();
    world.tell(created).await;
    world.drain().await;
    let moved: Vec<_> = stories.iter_mut().map(|story| story.moved(15)).collect();
    world.tell(moved).await;
    world.drain().await;
    world.host.lock_out(&hosts[0].place);
    world.tell([stories[0].moved(16)]).await;
    let worker = world.worker();
    let parked = "calendar_sync_connections_parked_total";
    until("a host is parked", async || told(world).await.sum(parked) >= 1.0).await;
    worker.stop().await;
    let told = told(world).await;
    (hosts, stories, told)
}

pub(super) async fn no_label_tells_of_anybody(world: &mut World) {
    let (hosts, stories, told) = busy(world).await;
    let labels = told.labels();
    let ours: BTreeSet<&str> = table::ALL.iter().flat_map(|it| it.labels).copied().collect();
    let mut of_people: Vec<String> = Vec::new();
    for story in &stories {
        of_people.extend([story.id().to_string(), story.uid().to_string()]);
    }
    for host in &hosts {
        of_people.extend([host.id.to_string(), host.provider.to_string()]);
        of_people.extend([host.place.calendar.clone(), host.place.subject.clone()]);
        for shown in world.shown(host).await {
            of_people.push(shown.id);
        }
    }
    assert!(of_people.len() > 100, "{of_people:?}");
    for (name, value) in &labels {
        assert!(name == "le" || ours.contains(name.as_str()), "{name}");
        let told = of_people.iter().find(|it| value.contains(it.as_str()));
        assert_eq!(told, None, "{name}={value}");
    }
    // However much there is of everything, there are not more of these.
    assert!(labels.len() < 200, "{labels:?}");
}

pub(super) async fn promtool_finds_nothing_but_the_names_of_before(world: &mut World) {
    let Some(promtool) = services::promtool(world.fact) else { return };
    let (_, _, told) = busy(world).await;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool starts");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(classic(told.text()).as_bytes()).await.expect("it reads");
    drop(input);
    let output = child.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let others: Vec<_> =
        said.lines().filter(|line| !OF_BEFORE.iter().any(|name| line.starts_with(name))).collect();
    assert_eq!(others, [""; 0], "{told}");
    // It has looked: that one is not Prometheus's way.
    assert!(said.contains("calendar_sync_latency_ms"), "{said}");
}
