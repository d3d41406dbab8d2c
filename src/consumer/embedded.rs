//! The broker inside the process, for `demo`, `dev` and tests: librdkafka's mock cluster. It has
//! groups, commits and faults to order; it keeps 5 MiB of a partition and then cuts its head, and
//! it makes no topics through the admin client.

use std::sync::mpsc;
use std::thread;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// librdkafka's cluster.
pub type Cluster = MockCluster<'static, DefaultProducerContext>;

type Job = Box<dyn FnOnce(&Cluster) + Send>;

/// Why there is no embedded broker.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// librdkafka says no.
    #[error("the embedded broker could not {operation}")]
    Refused {
        /// What it was to do.
        operation: &'static str,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// Its thread could not be started.
    #[error("the embedded broker's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// Its thread is gone.
    #[error("the embedded broker is gone")]
    Gone,
}

/// An embedded cluster. It lives on a thread of its own, because librdkafka's handle may not
/// leave the thread that made it. Dropping this ends it.
pub struct EmbeddedCluster {
    bootstrap: String,
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How many requests may wait for the cluster's thread.
const JOBS_MAX: usize = 16;

impl EmbeddedCluster {
    /// Starts a cluster of `brokers` brokers on free ports of the loopback interface.
    pub fn start(brokers: i32) -> Result<Self, EmbeddedError> {
        let (jobs, waiting) = mpsc::sync_channel::<Job>(JOBS_MAX);
        let (started, start) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("embedded-kafka".to_owned())
            .spawn(move || {
                let cluster = match Cluster::new(brokers) {
                    Ok(cluster) => cluster,
                    Err(source) => {
                        drop(started.send(Err(source)));
                        return;
                    }
                };
                drop(started.send(Ok(cluster.bootstrap_servers())));
                while let Ok(job) = waiting.recv() {
                    job(&cluster);
                }
            })
            .map_err(EmbeddedError::Thread)?;
        let bootstrap = start
            .recv()
            .map_err(|_| EmbeddedError::Gone)?
            .map_err(|source| EmbeddedError::Refused { operation: "start", source })?;
        Ok(Self { bootstrap, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Where it listens: `host:port`, comma-separated.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), EmbeddedError> {
        let topic = topic.to_owned();
        self.ask(move |cluster| cluster.create_topic(&topic, partitions, 1))?
            .map_err(|source| EmbeddedError::Refused { operation: "create a topic", source })
    }

    /// Asks the cluster for anything else that librdkafka offers (faults, leaders, delays).
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> Result<T, EmbeddedError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |cluster| drop(answer.send(question(cluster))));
        let jobs = self.jobs.as_ref().ok_or(EmbeddedError::Gone)?;
        jobs.send(job).map_err(|_| EmbeddedError::Gone)?;
        answered.recv().map_err(|_| EmbeddedError::Gone)
    }
}

impl Drop for EmbeddedCluster {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the embedded broker's thread panicked");
        }
    }
}
