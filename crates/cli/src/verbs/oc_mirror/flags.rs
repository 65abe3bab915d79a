//! The flags that oc-mirror's verbs share. Those that change nothing here are taken all the same, since scripts give
//! them; where somebody would count on one of them, it is said once that it does nothing.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use airlift_oc_mirror::check_parallel;
use airlift_spec::{Failure, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ArgAction;
use clap::builder::BoolishValueParser;
use serde_json::{Value, json};

use crate::app::{App, Side};
use crate::args::Transfer;
use crate::connect::Reach;
use crate::error::CliError;

/// Images, and layers of each, that oc-mirror moves at once where nothing is said.
const IMAGES: u32 = 4;
const LAYERS: u32 = 5;

/// What happens in place of a policy about signatures.
pub(super) const NO_POLICY: &str = "digests and bundles are checked, and no signatures of images";

/// Flags that every verb takes, before its name or after it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of oc-mirror and all below it")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of oc-mirror")]
pub(super) struct Common {
    /// The `ImageSetConfiguration`; for `delete`, the `DeleteImageSetConfiguration`
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Option<String>,
    /// `file://DIR` for what is written on the way straight to a registry, in `delete --generate`, or beside `--from`
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) workspace: Option<String>,
    /// Folder for the store [default: airlift's own; environment: `OC_MIRROR_CACHE`]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) cache_dir: Option<String>,
    /// Port of oc-mirror's cache, which its names of images have
    #[arg(short, long, global = true, default_value_t = 55000)]
    pub(super) port: u16,
    /// Images at once, 1 to 10; with `--parallel-layers` it says how many transfers that is
    #[arg(long, global = true, value_name = "N")]
    pub(super) parallel_images: Option<u32>,
    /// Layers of each image at once, 1 to 10
    #[arg(long, global = true, value_name = "N")]
    pub(super) parallel_layers: Option<u32>,
    /// The most parts that a repository may have in the registry
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    max_nested_paths: usize,
    /// Tries after the first that failed
    #[arg(long, global = true, value_name = "N")]
    pub(super) retry_times: Option<u32>,
    /// Pause between tries, like `2s`; without it, or with 0, pauses grow
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    pub(super) retry_delay: Option<Duration>,
    /// Whether registries that are read from have to show a valid certificate
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    #[arg(action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    src_tls_verify: bool,
    /// Whether the far registry has to show a valid certificate
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = true, default_missing_value = "true")]
    #[arg(action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    dest_tls_verify: bool,
    /// Both of these at once
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new(), hide = true)]
    tls_verify: Option<bool>,
    #[command(flatten)]
    src: Src,
    #[command(flatten)]
    dest: Dest,
    #[command(flatten)]
    idle: Idle,
    /// Take releases that no trusted key has signed, and say so
    #[arg(long, global = true, hide = true)]
    pub(super) ignore_release_signature: bool,
    /// The version whose rules are kept to, which is always 2
    #[arg(long, global = true)]
    v2: bool,
    /// Refused: version 1 is gone
    #[arg(long, global = true, conflicts_with = "v2")]
    v1: bool,
    /// Checked, and else without effect: see `-v`
    #[arg(long, global = true, default_value = "info", hide = true)]
    pub(super) log_level: String,
}

/// How the registries are reached that are read from.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are oc-mirror's flags")]
struct Src {
    /// File with credentials for registries that are read from
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    src_authfile: Option<PathBuf>,
    /// Folder with certificates for registries that are read from
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    src_cert_dir: Option<PathBuf>,
    /// `USER:PASSWORD` for the one registry that is read from
    #[arg(long, alias = "screds", global = true, value_name = "USER:PASSWORD", hide = true)]
    src_creds: Option<String>,
    /// User name at the one registry that is read from
    #[arg(long, global = true, value_name = "USER", hide = true)]
    src_username: Option<String>,
    /// Password at the one registry that is read from
    #[arg(long, global = true, value_name = "PASSWORD", hide = true)]
    src_password: Option<String>,
    /// Bearer token for the one registry that is read from
    #[arg(long, global = true, value_name = "TOKEN", hide = true)]
    src_registry_token: Option<String>,
    /// Tell nobody who is read from who we are
    #[arg(long, global = true, hide = true)]
    src_no_creds: bool,
}

/// How the far registry is reached.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are oc-mirror's flags")]
struct Dest {
    /// File with credentials for the far registry
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    dest_authfile: Option<PathBuf>,
    /// Folder with certificates for the far registry
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    dest_cert_dir: Option<PathBuf>,
    /// `USER:PASSWORD` for the far registry
    #[arg(long, alias = "dcreds", global = true, value_name = "USER:PASSWORD", hide = true)]
    dest_creds: Option<String>,
    /// User name at the far registry
    #[arg(long, global = true, value_name = "USER", hide = true)]
    dest_username: Option<String>,
    /// Password at the far registry
    #[arg(long, global = true, value_name = "PASSWORD", hide = true)]
    dest_password: Option<String>,
    /// Bearer token for the far registry
    #[arg(long, global = true, value_name = "TOKEN", hide = true)]
    dest_registry_token: Option<String>,
    /// Do not tell the far registry who we are
    #[arg(long, global = true, hide = true)]
    dest_no_creds: bool,
}

/// What does nothing here.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of oc-mirror")]
struct Idle {
    /// Without effect, which is said: signatures travel with what they sign
    #[arg(long = "registries.d", global = true, value_name = "DIR", hide = true)]
    registries_d: Option<PathBuf>,
    /// Without effect, which is said: digests and bundles are checked, by no policy
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    policy: Option<PathBuf>,
    /// Without effect
    #[arg(long, global = true, hide = true)]
    cpu_prof: bool,
    /// Without effect
    #[arg(long, global = true, hide = true)]
    mem_prof: bool,
    /// Without effect
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    src_shared_blob_dir: Option<PathBuf>,
    /// Without effect
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    dest_shared_blob_dir: Option<PathBuf>,
    /// Without effect
    #[arg(long, global = true, value_name = "HOST", hide = true)]
    src_daemon_host: Option<String>,
    /// Without effect
    #[arg(long, global = true, value_name = "HOST", hide = true)]
    dest_daemon_host: Option<String>,
    /// Without effect: bytes are sent as they came
    #[arg(long, global = true, hide = true)]
    dest_compress: bool,
    /// Without effect: bytes are sent as they came
    #[arg(long, global = true, hide = true)]
    dest_decompress: bool,
    /// Without effect: bytes are sent as they came
    #[arg(long, global = true, value_name = "FORMAT", hide = true)]
    dest_compress_format: Option<String>,
    /// Without effect: bytes are sent as they came
    #[arg(long, global = true, value_name = "LEVEL", hide = true)]
    dest_compress_level: Option<i32>,
    /// Without effect: digests are known before anything is sent
    #[arg(long, global = true, hide = true)]
    dest_precompute_digests: bool,
    /// Without effect: bytes are sent as they came
    #[arg(long, global = true, hide = true)]
    dest_oci_accept_uncompressed_layers: bool,
}

/// A time as Go writes it.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("`{text}` is no time; write it like `2s` or `500ms`");
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

impl Common {
    /// Refuses what is gone, and says what does nothing.
    pub(super) fn check(&self, app: &App) -> Result<(), Failure> {
        if self.v1 {
            return Err(CliError::usage("version 1 of oc-mirror is gone; use `--v2`").into());
        }
        check_parallel(self.images(), self.layers())?;
        let idle = [
            (
                "--registries.d",
                self.idle.registries_d.is_some(),
                "signatures are looked for beside every image",
            ),
            ("--policy", self.idle.policy.is_some(), NO_POLICY),
        ];
        for (flag, _, instead) in idle.into_iter().filter(|(_, is_given, _)| *is_given) {
            warn(app, flag, instead);
        }
        for (flag, side) in [("--src-tls-verify", Side::Near), ("--dest-tls-verify", Side::Far)] {
            if !self.verifies(side) {
                app.say(format!(
                    "warning: with `{flag}=false`, whoever sits on the line may read passwords; `--ca FILE` is safe"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn nested_paths(&self) -> Option<usize> {
        Some(self.max_nested_paths).filter(|most| *most > 0)
    }

    pub(super) fn images(&self) -> u32 {
        self.parallel_images.unwrap_or(IMAGES)
    }

    pub(super) fn layers(&self) -> u32 {
        self.parallel_layers.unwrap_or(LAYERS)
    }

    /// As many transfers as oc-mirror would make, where somebody said how many.
    pub(super) fn transfer(&self) -> Transfer {
        let is_said = self.parallel_images.is_some() || self.parallel_layers.is_some();
        let both = NonZeroUsize::new((self.images() * self.layers()) as usize);
        Transfer { parallel: both.filter(|_| is_said), limit_rate: None }
    }

    fn verifies(&self, side: Side) -> bool {
        let own = match side {
            Side::Near => self.src_tls_verify,
            Side::Far => self.dest_tls_verify,
        };
        own && self.tls_verify.unwrap_or(true)
    }

    /// How the registries of a side are reached, which are known to be these.
    pub(super) fn reach(&self, side: Side, hosts: &BTreeSet<String>) -> Result<Reach, CliError> {
        let (prefix, login) = match side {
            Side::Near => ("src", self.src.login()),
            Side::Far => ("dest", self.dest.login()),
        };
        let (authfile, certificates, is_anonymous) = match side {
            Side::Near => (&self.src.src_authfile, &self.src.src_cert_dir, self.src.src_no_creds),
            Side::Far => {
                (&self.dest.dest_authfile, &self.dest.dest_cert_dir, self.dest.dest_no_creds)
            }
        };
        let entry = login.entry(prefix)?;
        let given_auth = entry.map(|entry| given_auth(&entry, prefix, hosts)).transpose()?;
        Ok(Reach {
            authfile: authfile.clone(),
            is_anonymous,
            given_auth,
            is_unverified: !self.verifies(side),
            certificates: certificates.clone(),
            attempts: self.retry_times.and_then(|times| NonZeroUsize::new(times as usize + 1)),
            pause: self.retry_delay.filter(|pause| !pause.is_zero()),
        })
    }
}

pub(super) fn warn(app: &App, flag: &str, instead: &str) {
    app.say(format!("warning: `{flag}` does nothing here: {instead}"));
}

/// The secret goes to the one registry that it can be meant for, and to nobody else.
fn given_auth(
    entry: &Secret<Value>,
    prefix: &str,
    hosts: &BTreeSet<String>,
) -> Result<Secret<String>, CliError> {
    let mut hosts = hosts.iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(CliError::Usage {
            message: format!(
                "the credentials of the --{prefix}- flags are for one registry, and the configuration names others"
            ),
            help: Some(
                "put those of each registry into a file, by `airlift login HOST`".to_owned(),
            ),
        });
    };
    Ok(Secret::new(json!({ "auths": { host: entry.expose() } }).to_string()))
}

/// What one side's flags say about who we are.
struct Login<'a> {
    creds: Option<&'a String>,
    username: Option<&'a String>,
    password: Option<&'a String>,
    token: Option<&'a String>,
}

impl Src {
    fn login(&self) -> Login<'_> {
        Login {
            creds: self.src_creds.as_ref(),
            username: self.src_username.as_ref(),
            password: self.src_password.as_ref(),
            token: self.src_registry_token.as_ref(),
        }
    }
}

impl Dest {
    fn login(&self) -> Login<'_> {
        Login {
            creds: self.dest_creds.as_ref(),
            username: self.dest_username.as_ref(),
            password: self.dest_password.as_ref(),
            token: self.dest_registry_token.as_ref(),
        }
    }
}

impl Login<'_> {
    /// The entry of an `auth.json`; none where nothing is given.
    fn entry(&self, prefix: &str) -> Result<Option<Secret<Value>>, CliError> {
        let basic = |pair: String| Some(Secret::new(json!({ "auth": STANDARD.encode(pair) })));
        match (self.creds, self.username, self.password, self.token) {
            (None, None, None, None) => Ok(None),
            (Some(creds), None, None, None) if creds.contains(':') => Ok(basic(creds.clone())),
            (None, Some(user), Some(password), None) => Ok(basic(format!("{user}:{password}"))),
            (None, None, None, Some(token)) => {
                Ok(Some(Secret::new(json!({ "registrytoken": token }))))
            }
            _ => Err(CliError::usage(format!(
                "give one of `--{prefix}-creds USER:PASSWORD`, `--{prefix}-username` with `--{prefix}-password`, \
                 and `--{prefix}-registry-token`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        common: Common,
    }

    fn common(args: &[&str]) -> Common {
        Only::try_parse_from(["oc-mirror"].iter().chain(args)).unwrap().common
    }

    fn hosts(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_side_has_its_own_flags() {
        let common = common(&[
            "--src-tls-verify=false",
            "--dest-no-creds",
            "--retry-times",
            "2",
            "--retry-delay",
            "2s",
        ]);
        let near = common.reach(Side::Near, &hosts(&["a.io"])).unwrap();
        let far = common.reach(Side::Far, &hosts(&["b.io"])).unwrap();
        assert!(near.is_unverified && !near.is_anonymous);
        assert!(!far.is_unverified && far.is_anonymous);
        assert_eq!((far.attempts, far.pause), (NonZeroUsize::new(3), Some(Duration::from_secs(2))));
    }

    #[test]
    fn both_sides_are_meant_by_the_old_flag() {
        for args in [&["--tls-verify=false"][..], &["--tls-verify=0"]] {
            let common = common(args);
            assert!(!common.verifies(Side::Near) && !common.verifies(Side::Far));
        }
        assert!(common(&["--tls-verify"]).verifies(Side::Far));
    }

    #[test]
    fn credentials_are_for_one_registry() {
        let common = common(&["--screds", "user:pass"]);
        let reach = common.reach(Side::Near, &hosts(&["a.io"])).unwrap();
        let text = reach.given_auth.unwrap().expose().clone();
        assert_eq!(text, r#"{"auths":{"a.io":{"auth":"dXNlcjpwYXNz"}}}"#);
        for many in [&["a.io", "b.io"][..], &[]] {
            let err = common.reach(Side::Near, &hosts(many)).unwrap_err();
            assert!(err.to_string().contains("for one registry"), "{err}");
        }
        assert!(common.reach(Side::Far, &hosts(&[])).unwrap().given_auth.is_none());
    }

    #[test]
    fn half_a_login_is_refused() {
        for args in [
            &["--dest-creds", "user"][..],
            &["--dest-username", "user"],
            &["--dest-username", "user", "--dest-password", "p", "--dest-registry-token", "t"],
        ] {
            let err = common(args).reach(Side::Far, &hosts(&["a.io"])).unwrap_err();
            assert!(err.to_string().contains("--dest-creds USER:PASSWORD"), "{err}");
        }
    }

    #[test]
    fn transfers_are_counted_only_where_somebody_counts() {
        assert_eq!(common(&[]).transfer().parallel, None);
        let parallel = common(&["--parallel-images", "2"]).transfer().parallel;
        assert_eq!(parallel, NonZeroUsize::new(10));
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert!(time("soon").is_err() && time("-2s").is_err());
    }
}
