//! Everything that decides how the client goes about its work, as values: `cli` reads files and environment.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use airlift_spec::Secret;

/// How a client goes about its work. The default suits an unattended run without any configuration.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Requests in flight at once to one registry, in each direction; fewer where the registry bears fewer.
    pub max_in_flight: NonZeroUsize,
    /// Tries in a row without progress, the first one included.
    pub attempts: NonZeroUsize,
    /// Longest silence on one connection. Not a limit on the whole transfer.
    pub stall_timeout: Duration,
    /// Bytes a second over all connections together, both directions.
    pub limit_rate: Option<u64>,
    /// Whether certificates are looked at. Where they are not, plain HTTP is spoken as well, to whom speaks no other.
    pub verifies_tls: bool,
    /// Hosts (with their port, if any) that are spoken to in plain HTTP. Loopback needs no mention.
    pub plain_http: BTreeSet<String>,
    /// Where `Location`s of unfinished uploads are kept; without it they resume within this process only.
    pub state: Option<PathBuf>,
    /// Credentials of this run alone, in the form of an `auth.json`. Asked before all others.
    pub given_auth: Option<Secret<String>>,
    /// The text of containers' `auth.json`. Asked before `docker_config`.
    pub auth_json: Option<Secret<String>>,
    /// The text of docker's `config.json`.
    pub docker_config: Option<Secret<String>>,
    /// Folders in which `docker-credential-*` programs are looked for before `PATH`.
    pub helper_dirs: Vec<PathBuf>,
    /// The texts of `registries.conf` and its drop-ins, in the order in which they override.
    pub registries_conf: Vec<String>,
    /// Where things really come from: `quay.io` or `quay.io/org` → `mirror.example/quay`. The longest prefix wins;
    /// goes before `registries_conf`.
    pub upstreams: BTreeMap<String, String>,
    /// Whether reads may go to mirrors. Off for a registry that is also written to: what a mirror has says
    /// nothing about what the registry has.
    pub reads_from_mirrors: bool,
    pub proxy: ProxyOptions,
    /// Certificates (PEM) of authorities to trust besides the system's.
    pub ca_pem: Vec<Vec<u8>>,
    /// Certificate chain and key (PEM, both in one) to show to registries that ask for one.
    pub client_identity_pem: Option<Secret<Vec<u8>>>,
    pub tuning: Tuning,
}

/// Proxies, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say it. Loopback is never asked through one.
#[derive(Debug, Clone, Default)]
pub struct ProxyOptions {
    pub http: Option<Secret<String>>,
    pub https: Option<Secret<String>>,
    pub no_proxy: String,
}

/// Numbers that trade speed, memory and patience. One place, so that a benchmark can turn every knob.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Requests in flight that a registry is trusted with before it has shown anything.
    pub first_window: usize,
    /// First pause before another try; doubles each time, plus up to as much again at random.
    pub backoff_first: Duration,
    /// Longest pause before another try.
    pub backoff_max: Duration,
    /// Longest `Retry-After` that is obeyed; a registry that asks for more is tried again after this.
    pub retry_after_max: Duration,
    /// A registry that asks for more than this is not tried again: no number of tries would outlast it.
    pub retry_after_hopeless: Duration,
    /// Bytes that count as progress: a try that brought this many starts the count of tries anew.
    pub progress_bytes: u64,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Time without any answer after which a host counts as lost.
    pub lost_after: Duration,
    /// How long a registry may work on a body that it has whole: large blobs are moved or hashed there.
    pub commit_timeout: Duration,
    /// Bytes handed to the disk at once. Two such buffers are the memory that a download costs, and what is read ahead.
    pub write_bytes: usize,
    /// Time between two notes of what is durable. The store makes its own by bytes; on slow lines this comes first.
    pub checkpoint_every: Duration,
    /// Bytes read at once from what is being sent.
    pub read_bytes: usize,
    /// Blobs up to this size are sent in the very request that opens the upload.
    pub single_post_bytes: u64,
    /// Larger blobs are sent in chunks, so that they can be resumed.
    pub chunk_above_bytes: u64,
    /// The size of a chunk, where the registry asks for no other.
    pub chunk_bytes: u64,
    /// How long a credential helper may take.
    pub helper_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            max_in_flight: NonZeroUsize::new(32).expect("32 is not zero"),
            attempts: NonZeroUsize::new(6).expect("6 is not zero"),
            stall_timeout: Duration::from_secs(30),
            limit_rate: None,
            verifies_tls: true,
            plain_http: BTreeSet::new(),
            state: None,
            given_auth: None,
            auth_json: None,
            docker_config: None,
            helper_dirs: Vec::new(),
            registries_conf: Vec::new(),
            upstreams: BTreeMap::new(),
            reads_from_mirrors: true,
            proxy: ProxyOptions::default(),
            ca_pem: Vec::new(),
            client_identity_pem: None,
            tuning: Tuning::default(),
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            first_window: 6,
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_mins(2),
            retry_after_hopeless: Duration::from_mins(10),
            progress_bytes: 256 << 10,
            connect_timeout: Duration::from_secs(15),
            lost_after: Duration::from_mins(3),
            commit_timeout: Duration::from_mins(15),
            write_bytes: 1536 << 10,
            checkpoint_every: Duration::from_secs(5),
            read_bytes: 1 << 20,
            single_post_bytes: 64 << 10,
            chunk_above_bytes: 64 << 20,
            chunk_bytes: 64 << 20,
            helper_timeout: Duration::from_secs(30),
        }
    }
}
