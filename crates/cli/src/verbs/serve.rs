use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use airlift_registry::server::{
    Access, AccessLog, Auth, Backend, Htpasswd, Metrics, Server, ServerOptions, StoreBackend,
};
use airlift_serve::charts::Charts;
use airlift_serve::content::ContentBackend;
use airlift_serve::tls;
use airlift_spec::Failure;
use airlift_store::Store;
use rustls::ServerConfig;
use serde::Serialize;

use crate::app::{App, Exit, Side, blocking, read_file};
use crate::args::Transfer;
use crate::error::CliError;
use crate::limits;
use crate::output::{Report, findings_text};
use crate::place::Source;
use crate::sources::SourceArgs;

/// Offer bundles, a store or a registry as an OCI registry
///
/// Starts at once, whatever the size: nothing is unpacked, and blobs are read where they lie. An image answers to
/// its full name (`quay.io/org/app`), to containerd's `?ns=`, and to its bare path where that is unique. Helm charts
/// are there as `oci://` and, below `/charts`, as a chart repository. Prints its address on stdout when it is ready,
/// and stops after finishing what is under way on SIGTERM.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,

    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,

    /// `auto` for a certificate by a CA of our own, kept in `--state`, or files with a chain and its key
    /// [default: auto off loopback, none on it]
    #[arg(long, value_name = "auto|CERT,KEY|off")]
    tls: Option<Tls>,

    /// Name that clients reach the server by, for its certificate; repeats
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,

    /// File of users and their passwords, as `htpasswd -B` writes it
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,

    /// Let anybody pull, and ask only those for a password who push
    #[arg(long, requires = "htpasswd")]
    anonymous_pull: bool,

    /// Take pushes into SOURCE, a store, which is made where it is absent
    #[arg(long)]
    writable: bool,

    /// Stop as on SIGTERM once standard input ends: for whoever starts a server and may be killed
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tls {
    Off,
    Auto,
    Files { certificate: PathBuf, key: PathBuf },
}

impl FromStr for Tls {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(',')) {
            ("auto", _) => Ok(Self::Auto),
            ("off", _) => Ok(Self::Off),
            (_, Some((certificate, key))) => {
                Ok(Self::Files { certificate: certificate.into(), key: key.into() })
            }
            _ => Err("expected `auto`, `off`, or two files as `CERT,KEY`".to_owned()),
        }
    }
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    let metrics = Arc::new(Metrics::default());
    let (backend, writable, pages): (Arc<dyn Backend>, _, _) = if args.writable {
        let store = pushed_into(&args.source.sources).await?;
        let store = Arc::new(StoreBackend::new(Arc::new(store)));
        (store.clone(), Some(store), None)
    } else {
        let client = app.connect(Side::Far, &Transfer::default())?;
        let sources = args.source.open(&client, app).await?;
        // The rest can be served; that these have no names to be asked by must not come as a surprise.
        if !sources.without_lock().is_empty() {
            app.say(findings_text(sources.without_lock()));
        }
        let backend = ContentBackend::new(sources, &metrics);
        let (charts, without_place) = Charts::new(&backend);
        if !without_place.is_empty() {
            app.say(findings_text(&without_place));
        }
        (Arc::new(backend), None, Some(charts.pages()))
    };
    let tls = server_tls(&args, app).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let defaults = ServerOptions::default();
    let options = ServerOptions {
        tls,
        auth: auth(&args).await?,
        writable,
        pages,
        metrics,
        access_log: access_log(app),
        max_connections: limits::connections(defaults.max_connections),
        ..defaults
    };
    let server = Server::bind(args.listen, options, backend).await?;
    app.print(&Listening { url: format!("{scheme}://{}", server.local_addr()) })?;
    if args.until_stdin_ends {
        let cancel = app.ctx.cancel.clone();
        // No task: a read of standard input cannot be called off, and would keep the runtime from ending.
        std::thread::spawn(move || {
            drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
            cancel.cancel();
        });
    }
    server.run(app.ctx.cancel.clone()).await;
    Ok(Exit::Success)
}

/// The one store that `--writable` pushes go to.
async fn pushed_into(sources: &[Source]) -> Result<Store, Failure> {
    let folder = match sources {
        [Source::Volumes(folder) | Source::Store(folder)] => folder.clone(),
        _ => {
            return Err(CliError::usage(
                "`--writable` takes one folder, which is or becomes a store",
            )
            .into());
        }
    };
    Ok(blocking(move || Store::create(&folder)).await??)
}

async fn server_tls(args: &Args, app: &App) -> Result<Option<Arc<ServerConfig>>, Failure> {
    let is_local = args.listen.ip().to_canonical().is_loopback();
    let wanted = args.tls.clone().unwrap_or(if is_local { Tls::Off } else { Tls::Auto });
    match wanted {
        Tls::Off => Ok(None),
        Tls::Files { certificate, key } => {
            Ok(Some(blocking(move || tls::from_files(&certificate, &key)).await??))
        }
        Tls::Auto => {
            if !is_local && app.global.state.is_none() {
                return Err(CliError::Usage {
                    message: "`--tls auto` off loopback needs a folder of its own for the CA's key".to_owned(),
                    help: Some("add `--state DIR`, and keep it: a restart or a replica has the same CA then".to_owned()),
                }
                .into());
            }
            auto_tls(args, app).await.map(Some)
        }
    }
}

async fn auto_tls(args: &Args, app: &App) -> Result<Arc<ServerConfig>, Failure> {
    let state = app.state_folder()?;
    let host = args.name.first().cloned().unwrap_or_else(|| args.listen.ip().to_string());
    let registry = format!("{host}:{}", args.listen.port());
    let mut names = args.name.clone();
    names.push("localhost".to_owned());
    names.push(rustix::system::uname().nodename().to_string_lossy().into_owned());
    let mut addresses: Vec<IpAddr> = vec![IpAddr::from([127, 0, 0, 1])];
    if !args.listen.ip().is_unspecified() {
        addresses.push(args.listen.ip());
    }
    let today = jiff::Zoned::now().date();
    let today = (i32::from(today.year()), today.month().unsigned_abs(), today.day().unsigned_abs());
    let made = blocking(move || tls::auto(&state, &registry, &names, &addresses, today)).await??;
    app.say(trust_advice(&made.ca_certificate, &made.config_map));
    Ok(made.config)
}

fn trust_advice(certificate: &Path, config_map: &Path) -> String {
    format!(
        "clients must trust {}\n  podman, skopeo: copy it to /etc/containers/certs.d/HOST:PORT/ca.crt\n  \
         containerd: name it as `ca` in hosts.toml\n  a cluster: apply {}",
        certificate.display(),
        config_map.display()
    )
}

async fn auth(args: &Args) -> Result<Auth, Failure> {
    let Some(file) = args.htpasswd.clone() else { return Ok(Auth::Open) };
    let anonymous_pull = args.anonymous_pull;
    let text =
        blocking(move || read_file("file of users", &file, Some("make it with `htpasswd -B`")))
            .await??;
    let users = Arc::new(Htpasswd::parse(&String::from_utf8_lossy(&text))?);
    Ok(if anonymous_pull { Auth::AnonymousPull(users) } else { Auth::Required(users) })
}

/// One line for each request, on stderr.
fn access_log(app: &App) -> AccessLog {
    let progress = app.progress.clone();
    AccessLog::new(move |access: &Access| {
        progress.say(&format!(
            "{} {} {} {} {} {}B {:.3}s",
            jiff::Timestamp::now().strftime("%FT%TZ"),
            access.peer,
            access.method,
            access.target,
            access.status,
            access.sent_bytes,
            access.duration.as_secs_f64()
        ));
    })
}

#[derive(Debug, Serialize)]
struct Listening {
    url: String,
}

impl Report for Listening {
    fn to_text(&self) -> String {
        self.url.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_a_word_or_two_files() {
        assert_eq!("auto".parse(), Ok(Tls::Auto));
        assert_eq!("off".parse(), Ok(Tls::Off));
        let files = Tls::Files { certificate: "a.crt".into(), key: "a.key".into() };
        assert_eq!("a.crt,a.key".parse(), Ok(files));
        assert!("yes".parse::<Tls>().is_err());
    }
}
