//! The parts that the demo brings up: a broker and Google's API in this process, a database and
//! settings in a directory of their own.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use booking::ProviderId;
use tempfile::TempDir;

use super::day::Provider;
use crate::cli::account::{Account, fresh_key};
use crate::cli::open::open_installation;
use crate::clock::Surroundings;
use crate::config::{Given, Settings};
use crate::connection::Sealer;
use crate::consumer::embedded::EmbeddedCluster;
use crate::emulator::{GoogleEmulator, Options};
use crate::store::Store;

/// The topic.
pub(super) const TOPIC: &str = "booking.events";
/// Its partitions.
pub(super) const PARTITIONS: i32 = 4;
/// The domain of UIDs that the service derives.
pub(super) const UID_DOMAIN: &str = "demo.calendar-sync.invalid";

/// After so long without a sign of life Kafka gives a dead worker's partitions away: the least
/// that the settings, and Apache Kafka itself, allow.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// A call that was not answered is looked at again after so long.
pub(super) const VERIFY_AFTER: Duration = Duration::from_secs(2);

/// What runs in this process, and what it stands on.
pub(super) struct Parts {
    pub(super) broker: EmbeddedCluster,
    pub(super) google: GoogleEmulator,
    pub(super) store: Arc<dyn Store>,
    dir: TempDir,
}

impl Parts {
    /// Brings all of it up, with an account and a calendar for each provider.
    pub(super) async fn start(
        providers: &[Provider],
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("calendar-sync-demo-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .context("cannot make a directory for the demo")?;
        let broker = EmbeddedCluster::start(1)?;
        broker.create_topic(TOPIC, PARTITIONS)?;
        let google = GoogleEmulator::start(Options::strict(Arc::clone(&surroundings.clock)));
        let google = google.await.context("cannot start Google's emulator")?;
        let key = fresh_key(&*surroundings.dice);
        write_private(&dir.path().join("sealing.key"), &key)?;
        let config = dir.path().join(CONFIG);
        write_private(&config, &settings_text(dir.path(), broker.bootstrap()))?;
        let settings = read_settings(&config)?;
        let (store, installation) = open_installation(&settings, surroundings).await?;
        let sealer = Sealer::from_settings(&settings.secrets)?;
        fs::create_dir(dir.path().join(CURL))?;
        for provider in providers {
            let token = surroundings.dice.token().simple().to_string();
            write_private(
                &curl_file(dir.path(), provider),
                &format!("header = \"Authorization: Bearer {token}\"\n"),
            )?;
            let connection = Account::emulated(&google, provider.account, &token).connection(
                ProviderId(provider.id),
                &installation,
                &settings,
                &sealer,
                &*surroundings.dice,
            )?;
            store.put_connection(&connection).await.context("cannot connect a calendar")?;
        }
        Ok(Self { broker, google, store, dir })
    }

    /// The settings of the worker; they work for every other command, too.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.path().join(CONFIG)
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.dir.path().join(DATABASE)
    }

    /// Where the workers log.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join(LOG)
    }

    /// What `curl -K` needs to look into a calendar.
    pub(super) fn curl_file(&self, provider: &Provider) -> PathBuf {
        curl_file(self.dir.path(), provider)
    }

    /// Where a calendar's events are listed.
    pub(super) fn calendar_url(&self, provider: &Provider) -> String {
        format!("{}/calendars/{}/events", self.google.base_url(), provider.account)
    }

    /// Ends all of it. With `keep` the directory stays; answers where.
    pub(super) async fn stop(self, keep: bool) -> anyhow::Result<Option<PathBuf>> {
        self.google.stop().await;
        drop(self.store);
        drop(self.broker);
        if keep {
            return Ok(Some(self.dir.keep()));
        }
        self.dir.close().context("cannot remove the demo's directory")?;
        Ok(None)
    }
}

const CONFIG: &str = "calendar-sync.toml";
const DATABASE: &str = "calendar-sync.db";
const LOG: &str = "worker.log";
const CURL: &str = "curl";

fn curl_file(dir: &Path, provider: &Provider) -> PathBuf {
    let name = provider.account.split('@').next().unwrap_or_default();
    dir.join(CURL).join(name)
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The worker's settings: everything shorter than in production, so that a demo need not take
/// minutes.
fn settings_text(dir: &Path, brokers: &str) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let store = quoted(format!("sqlite://{}", dir.join(DATABASE).display()));
    let key_file = quoted(dir.join("sealing.key").display().to_string());
    let session_timeout_ms = SESSION_TIMEOUT.as_millis();
    let verify_after_s = VERIFY_AFTER.as_secs();
    format!(
        "# The demo's settings. Try: calendar-sync --config THIS_FILE cursor show\n\
         kafka.brokers = \"{brokers}\"\n\
         kafka.topic = \"{TOPIC}\"\n\
         kafka.session_timeout_ms = {session_timeout_ms}\n\
         kafka.max_poll_interval_ms = 10000\n\
         store.url = {store}\n\
         emit.enabled = true\n\
         emit.claim_batch = 16\n\
         emit.lease_s = 5\n\
         emit.call_timeout_s = 2\n\
         emit.connect_timeout_s = 2\n\
         emit.idle_ms = 50\n\
         emit.backoff_min_ms = 50\n\
         emit.backoff_max_s = 1\n\
         limits.google_per_connection = 0\n\
         limits.google_per_application = 0\n\
         emit.verify_after_s = \"{verify_after_s}\"\n\
         http.allow_networks = \"127.0.0.0/8\"\n\
         content.uid_domain = \"{UID_DOMAIN}\"\n\
         content.pending_as_tentative = true\n\
         secrets.key_file = {key_file}\n\
         ops.listen = \"127.0.0.1:0\"\n\
         shutdown.deadline_s = 5\n\
         log.level = \"info\"\n"
    )
}

/// The file alone: the demo's worker must not follow the visitor's environment.
fn read_settings(path: &Path) -> anyhow::Result<Settings> {
    let text = fs::read_to_string(path)?;
    let given = Given::of(Some((path, &text)), []);
    Settings::parse(&given).context("the demo's own settings are wrong")
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    #[test]
    fn the_demos_settings_are_right_wherever_the_directory_is() {
        let dir = tempfile::Builder::new().prefix("a \"quoted\" \\ name").tempdir().unwrap();
        write_private(&dir.path().join("sealing.key"), &BASE64.encode(&[7; 32])).unwrap();
        let config = dir.path().join(CONFIG);
        write_private(&config, &settings_text(dir.path(), "localhost:1")).unwrap();
        let settings = read_settings(&config).unwrap();
        assert!(settings.emit.gate.enabled && settings.content.pending_as_tentative);
    }
}
