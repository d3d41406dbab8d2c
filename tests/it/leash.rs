//! Processes that end with this one, however it ends.
//!
//! What is dropped is killed by whoever drops it; but a test that is ended from outside drops nothing.
//! So a shell is told of each process, through a pipe whose other end closes with us: then it kills those
//! that are left.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// In a group of its own, and deaf to what a terminal says to ours.
const KEEPER: &str = r#"
trap '' HUP INT QUIT TERM
held=' '
while read -r word id; do
    case $word in
    hold) held="$held$id " ;;
    leave) held="${held%% $id *} ${held#* $id }" ;;
    esac
done
kill -KILL $held
"#;

#[expect(clippy::zombie_processes, reason = "it outlives us")]
static TO_KEEPER: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let keeper = Command::new("sh")
        .args(["-c", KEEPER])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("there is a shell");
    Mutex::new(keeper.stdin.expect("a pipe"))
});

/// Holds a process of ours until it is dropped. Drop it once the process is gone, or on its way.
pub(crate) struct Leash {
    id: u32,
}

impl Leash {
    /// Holds this one.
    pub(crate) fn of(id: impl Into<Option<u32>>) -> Self {
        let id = id.into().expect("it has just been started");
        tell("hold", id).expect("the keeper lives as long as we do");
        Self { id }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // Where the keeper is gone, there is nobody to be told.
        drop(tell("leave", self.id));
    }
}

fn tell(word: &str, id: u32) -> std::io::Result<()> {
    let mut keeper = TO_KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    // At once: two lines must not mix.
    keeper.write_all(format!("{word} {id}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

    use super::*;
    use crate::wait::PATIENCE;

    const HELD: &str = "two are held, and one was";

    fn sleeper() -> std::process::Child {
        // It keeps our standard output open for as long as it lives.
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("it starts")
    }

    /// What is killed by the fact below.
    #[test]
    #[ignore = "it waits to be killed"]
    fn holds_until_it_is_killed() {
        let (first, mut second, third) = (sleeper(), sleeper(), sleeper());
        let _first = Leash::of(first.id());
        let let_go = Leash::of(second.id());
        let _third = Leash::of(third.id());
        second.kill().expect("it lives");
        second.wait().expect("it is our child");
        drop(let_go);
        writeln!(std::io::stdout(), "{HELD}").expect("it is read");
        // Nobody writes anything: this ends with whoever started us.
        std::io::stdin().read_to_end(&mut Vec::new()).expect("it is open");
    }

    /// Fails with: `KEEPER`: without `kill`.
    #[tokio::test]
    async fn whoever_is_killed_leaves_no_process_behind() {
        let ours = std::env::current_exe().expect("we are a program");
        let name = "leash::tests::holds_until_it_is_killed";
        let mut child = tokio::process::Command::new(ours)
            .args(["--exact", name, "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        let is_held = async {
            let mut line = String::new();
            while !line.contains(HELD) {
                line.clear();
                let read = said.read_line(&mut line).await.expect("it is read");
                assert!(read > 0, "it ended before it held anything");
            }
        };
        tokio::time::timeout(PATIENCE, is_held).await.expect("it holds them in time");
        child.kill().await.expect("it lives");
        // The end of its output: everybody is gone who had it open.
        let mut rest = Vec::new();
        let gone = tokio::time::timeout(PATIENCE, said.read_to_end(&mut rest)).await;
        gone.expect("those that were held are gone").expect("it is read");
    }
}
