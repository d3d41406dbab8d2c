//! `cursor`: how far each partition was read, why one is stopped, and the operator's answer to it
//! (rule R2).

use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;

use super::columns::{Columns, or_dash, printable};
use super::open::open_installation;
use super::out::Out;
use crate::clock::Surroundings;
use crate::config::Settings;
use crate::store::{Cursor, Resume, Stop};

/// Shows and sets how far the topic was read.
///
/// Only the database's cursor counts: rewinding the consumer group in Kafka changes nothing.
#[derive(Debug, Subcommand)]
pub enum CursorCommand {
    /// Show the cursor of every partition, and of a stopped one why it is stopped and what to do
    Show(ShowArgs),
    /// Read on in a log that is not the one that was read before (recreated, truncated, restored)
    #[command(after_help = "\
Events that a booking has seen already do nothing when they are read again, as far as they carry \
a sequence or an event id that is remembered.

Examples:
  calendar-sync cursor accept --partition 3            at the stored offset
  calendar-sync cursor accept --partition 3 --at 0     from the new log's beginning")]
    Accept(AcceptArgs),
    /// Set the cursor in the same log
    #[command(after_help = "\
Forwards, the records in between are never read. Backwards, they are read again and do nothing, \
except that those which cannot be read become dead letters once more.

Example:
  calendar-sync cursor set --partition 3 --at 1200")]
    Set(SetArgs),
}

/// `cursor show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Which partition.
#[derive(Debug, Args)]
pub struct PartitionArgs {
    /// The topic, if not the one of the settings
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The partition
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
}

/// `cursor accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    #[command(flatten)]
    which: PartitionArgs,
    /// The next offset to read; without it, the stored one
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    at: Option<i64>,
}

/// `cursor set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    #[command(flatten)]
    which: PartitionArgs,
    /// The next offset to read
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    at: i64,
}

impl CursorCommand {
    /// Does it.
    pub async fn run(
        self,
        settings: &Settings,
        surroundings: &Surroundings,
        out: &mut Out<impl Write + Send>,
    ) -> anyhow::Result<()> {
        let (store, _) = open_installation(settings, surroundings).await?;
        let (which, how) = match self {
            Self::Show(args) => return show(&args, &store.cursors().await?, out),
            Self::Accept(args) => (args.which, Resume::Accept { at: args.at }),
            Self::Set(args) => (args.which, Resume::Set { at: args.at }),
        };
        let topic = which.topic.as_deref().unwrap_or(&settings.kafka.topic);
        let partition = which.partition;
        if !store.resume(topic, partition, how).await? {
            bail!("there is no cursor of {topic}/{partition}; see calendar-sync cursor show");
        }
        match store.cursor(topic, partition).await? {
            Some(cursor) => writeln!(
                out,
                "{topic}/{partition}: reads on at {}, as soon as its owner has noticed",
                or_dash(cursor.next_offset)
            )?,
            None => bail!("the cursor of {topic}/{partition} is gone"),
        }
        Ok(())
    }
}

/// How many records are not read yet, as far as the log end is known.
fn lag(cursor: &Cursor) -> Option<i64> {
    Some(cursor.log_end?.saturating_sub(cursor.position()?).max(0))
}

fn show(args: &ShowArgs, cursors: &[Cursor], out: &mut Out<impl Write>) -> anyhow::Result<()> {
    if args.json {
        for cursor in cursors {
            out.json(&to_json(cursor))?;
        }
        return Ok(());
    }
    if cursors.is_empty() {
        writeln!(out, "nothing was read yet: no worker has been given a partition")?;
        return Ok(());
    }
    let mut columns =
        Columns::new(["TOPIC", "PARTITION", "CURSOR", "LOG END", "LAG", "EPOCH", "STATE"]);
    for cursor in cursors {
        columns.row([
            cursor.fence.topic.clone(),
            cursor.fence.partition.to_string(),
            or_dash(cursor.next_offset),
            or_dash(cursor.log_end),
            or_dash(lag(cursor)),
            cursor.fence.epoch.to_string(),
            cursor.stop.as_ref().map_or_else(|| "reading".to_owned(), |_| "STOPPED".to_owned()),
        ]);
    }
    for line in columns.lines() {
        writeln!(out, "{line}")?;
    }
    for cursor in cursors {
        if let Some(stop) = &cursor.stop {
            show_stop(cursor, stop, out)?;
        }
    }
    Ok(())
}

fn show_stop(cursor: &Cursor, stop: &Stop, out: &mut Out<impl Write>) -> std::io::Result<()> {
    let (topic, partition) = (&cursor.fence.topic, cursor.fence.partition);
    writeln!(
        out,
        "\n{}/{partition} is stopped: {}\n  found: {}\n  what to do:",
        printable(topic),
        printable(&stop.kind),
        printable(&stop.found)
    )?;
    advice(cursor, stop).iter().try_for_each(|line| writeln!(out, "    {line}"))
}

/// What an operator can do about a stop.
fn advice(cursor: &Cursor, stop: &Stop) -> Vec<String> {
    let which = format!(
        "--topic {} --partition {}",
        printable(&cursor.fence.topic),
        cursor.fence.partition
    );
    let accept = format!("calendar-sync cursor accept {which}");
    let set = format!("calendar-sync cursor set {which} --at OFFSET");
    let lines: [&str; 3] = match stop.kind.as_str() {
        "truncated" => [
            "The log ends before what was read: its tail is lost. What was read stays valid.",
            "If the booking service publishes into this log again, read what is new from its end:",
            "--at OFFSET",
        ],
        "recreated" => [
            "The topic is another one than before. Read it from its beginning:",
            "Events that were read already do nothing again, if they carry a sequence.",
            "--at 0",
        ],
        "lost_range" => {
            return vec![
                "Records were deleted before they were read (retention). Go on behind the gap, at \
                 the log's first offset:"
                    .to_owned(),
                set,
                "and have the bookings of that time published again.".to_owned(),
            ];
        }
        "replaced" => [
            "Another record stands where one was read: the log was restored or written anew.",
            "Read it from its beginning, or from the offset where it is new:",
            "--at OFFSET",
        ],
        _ => {
            return vec![
                "If the log is the same one:".to_owned(),
                set,
                "If it is another log:".to_owned(),
                format!("{accept} --at OFFSET"),
            ];
        }
    };
    let [first, second, at] = lines;
    vec![first.to_owned(), second.to_owned(), format!("{accept} {at}")]
}

fn to_json(cursor: &Cursor) -> serde_json::Value {
    let stop = cursor.stop.as_ref().map(
        |stop| json!({ "kind": stop.kind, "found": stop.found, "advice": advice(cursor, stop) }),
    );
    json!({
        "topic": cursor.fence.topic,
        "partition": cursor.fence.partition,
        "cursor": cursor.next_offset,
        "passed_to": cursor.passed_to,
        "log_end": cursor.log_end,
        "lag": lag(cursor),
        "epoch": cursor.fence.epoch,
        "incarnation": cursor.incarnation,
        "topic_id": cursor.topic_id,
        "cluster_id": cursor.cluster_id,
        "updated_at": cursor.updated_at.to_rfc3339(),
        "stopped": stop,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::Fence;

    fn cursor(partition: i32, next_offset: Option<i64>, stop: Option<&str>) -> Cursor {
        Cursor {
            fence: Fence {
                topic: "booking.events".to_owned(),
                partition,
                epoch: 7,
                token: Uuid::nil(),
            },
            next_offset,
            passed_to: None,
            witness: None,
            topic_id: None,
            cluster_id: None,
            log_end: Some(150),
            incarnation: 0,
            recover_until: None,
            stop: stop.map(|kind| Stop {
                kind: kind.to_owned(),
                found: "the log ends at 150, and 160 was read".to_owned(),
            }),
            updated_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn shown(json: bool, cursors: &[Cursor]) -> String {
        let mut bytes = Vec::new();
        show(&ShowArgs { json }, cursors, &mut Out::new(&mut bytes)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_stopped_partition_says_why_and_what_to_do() {
        let cursors = [cursor(0, Some(120), None), cursor(1, Some(161), Some("truncated"))];
        assert_eq!(
            shown(false, &cursors),
            "\
TOPIC           PARTITION  CURSOR  LOG END  LAG  EPOCH  STATE
booking.events  0          120     150      30   7      reading
booking.events  1          161     150      0    7      STOPPED

booking.events/1 is stopped: truncated
  found: the log ends at 150, and 160 was read
  what to do:
    The log ends before what was read: its tail is lost. What was read stays valid.
    If the booking service publishes into this log again, read what is new from its end:
    calendar-sync cursor accept --topic booking.events --partition 1 --at OFFSET
"
        );
    }

    #[test]
    fn every_stop_has_an_advice_with_a_command() {
        for kind in ["truncated", "recreated", "lost_range", "replaced", "something_new"] {
            let cursor = cursor(3, None, Some(kind));
            let advice = advice(&cursor, cursor.stop.as_ref().unwrap());
            assert!(advice.iter().any(|line| line.starts_with("calendar-sync cursor")), "{kind}");
        }
    }

    #[test]
    fn each_line_of_json_is_one_partition() {
        let text = shown(true, &[cursor(0, None, None), cursor(1, Some(161), Some("truncated"))]);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["lag"], serde_json::Value::Null);
        assert_eq!(lines[1]["stopped"]["kind"], "truncated");
    }
}
