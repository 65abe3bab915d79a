//! Real registries as child processes that end with their handle.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::tls::Certificates;
use crate::tools::Runner;

/// Which registry a binary is, which decides how its settings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's `docker-registry` 2.8.
    Docker2,
    /// `registry` of distribution 3.
    Distribution3,
}

/// What the registry is started with. The default is open, plain HTTP, and lets content be deleted.
#[derive(Debug, Clone)]
pub struct RealOptions {
    /// The text of a htpasswd file (bcrypt only).
    pub htpasswd: Option<String>,
    pub tls: Option<Certificates>,
    /// Whether content may be deleted.
    pub deletes: bool,
    /// More lines of its configuration, as YAML.
    pub settings: String,
}

impl Default for RealOptions {
    fn default() -> Self {
        Self { htpasswd: None, tls: None, deletes: true, settings: String::new() }
    }
}

/// A running registry and its storage.
#[derive(Debug)]
pub struct RealRegistry {
    child: Child,
    address: SocketAddr,
    runner: Runner,
}

/// Longest time a registry may take to answer. It takes some 50 ms; a machine under load, seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Kind {
    /// The name of its program, for [`need!`](crate::need).
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker2 => "docker-registry",
            Self::Distribution3 => "registry",
        }
    }
}

impl RealRegistry {
    /// Starts `program` on a free port of loopback and waits until it takes connections.
    pub fn start(program: &Path, options: &RealOptions) -> io::Result<Self> {
        let runner = Runner::new()?;
        // Taken and given back: another process may get the port in between, and then the start fails by name.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = write_config(runner.home(), address, options)?;
        let log = fs_err::File::create(runner.home().join("log"))?;
        let child = runner
            .command(program)
            .arg("serve")
            .arg(config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()?;
        let mut registry = Self { child, address, runner };
        registry.wait_until_ready()?;
        Ok(registry)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}:\n{}", self.log())));
            }
            if begin.elapsed() > START_TIMEOUT {
                return Err(io::Error::other(format!("does not answer:\n{}", self.log())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `127.0.0.1:PORT`, as it stands in references.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where it keeps its content.
    pub fn storage(&self) -> PathBuf {
        self.runner.home().join("storage")
    }

    /// What it has logged so far, each request included.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.runner.home().join("log")).unwrap_or_default()
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(home: &Path, address: SocketAddr, options: &RealOptions) -> io::Result<PathBuf> {
    let storage = home.join("storage");
    fs_err::create_dir_all(&storage)?;
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: info, accesslog: {{disabled: false}}}}\n\
         storage:\n  \
           filesystem: {{rootdirectory: {storage}}}\n  \
           delete: {{enabled: {deletes}}}\n  \
           redirect: {{disable: true}}\n\
         http:\n  \
           addr: {address}\n  \
           secret: fixed\n",
        storage = storage.display(),
        deletes = options.deletes,
    );
    if let Some(certificates) = &options.tls {
        let (certificate, key) = (home.join("server.pem"), home.join("server.key"));
        fs_err::write(&certificate, &certificates.server.certificate_pem)?;
        fs_err::write(&key, &certificates.server.key_pem)?;
        text += "  tls: {certificate: ";
        text += &certificate.display().to_string();
        text += ", key: ";
        text += &key.display().to_string();
        text += "}\n";
    }
    if let Some(htpasswd) = &options.htpasswd {
        let path = home.join("htpasswd");
        fs_err::write(&path, htpasswd)?;
        text += "auth: {htpasswd: {realm: real, path: ";
        text += &path.display().to_string();
        text += "}}\n";
    }
    text += &options.settings;
    let config = home.join("registry.yml");
    fs_err::write(&config, text)?;
    Ok(config)
}
