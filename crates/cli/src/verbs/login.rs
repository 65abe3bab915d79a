use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use airlift_registry::client::{Client, ClientError, ClientOptions};
use airlift_spec::reference::is_host;
use airlift_spec::{Class, Explain as _, Failure, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::{App, Exit};
use crate::connect::{file_text, parse_auth};
use crate::error::CliError;
use crate::files;
use crate::output::Report;

/// Keep the credentials of a registry
///
/// Asks the registry whether it takes them first. They go into the file that podman and skopeo read as
/// well (containers/auth.json in the XDG config home), or into `--authfile`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, as references name it
    #[arg(value_name = "HOST")]
    host: String,
    /// User name; asked for where it is not given
    #[arg(short, long)]
    username: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Do not ask the registry whether it takes them
    #[arg(long)]
    no_check: bool,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    if !is_host(&args.host) {
        return Err(CliError::Usage {
            message: format!("`{}` is not a registry's host", args.host),
            help: Some("leave out `https://` and everything behind the host".to_owned()),
        }
        .into());
    }
    let file = auth_file(app, &args.host)?;
    let credentials = ask(&args)?;
    let text = file_text(&file)?.unwrap_or_else(|| "{}".to_owned());
    let entries = with_entry(parse_auth(&file, &text)?, &args.host, &credentials);
    if !args.no_check {
        check(&args.host, &entries, app).await?;
    }
    let mut text = serde_json::to_string_pretty(&entries).expect("it was read from JSON");
    text.push('\n');
    files::replace_private(&file, text.as_bytes())
        .map_err(|source| CliError::Write { what: "the credentials", source })?;
    app.print(&LoggedIn { host: args.host, authfile: file, is_checked: !args.no_check })?;
    Ok(Exit::Success)
}

/// The file that a flag or the environment names; else the first that knows the host already, since an entry
/// in an earlier file would hide ours; else the one that outlives a logout.
fn auth_file(app: &App, host: &str) -> Result<PathBuf, CliError> {
    if let Some(chosen) = app.chosen_auth_file()? {
        return Ok(chosen);
    }
    for file in app.environment.containers_auth_files() {
        let Some(text) = file_text(&file)? else { continue };
        let entries = parse_auth(&file, &text)?;
        if entries.get("auths").is_some_and(|auths| auths.get(host).is_some()) {
            return Ok(file);
        }
    }
    app.environment.login_file().ok_or(CliError::NoHome { flag: Some("--authfile") })
}

/// User name and password, as `auth.json` keeps them.
fn ask(args: &Args) -> Result<Secret<String>, CliError> {
    let failed = |source| CliError::Read { what: "the credentials", source };
    if !args.password_stdin && !io::stdin().is_terminal() {
        return Err(CliError::Usage {
            message: "there is no terminal to ask for the password on".to_owned(),
            help: Some("give it on stdin, with `--password-stdin`".to_owned()),
        });
    }
    let username = match &args.username {
        Some(username) => username.clone(),
        None if args.password_stdin => {
            return Err(CliError::usage("`--password-stdin` needs `--username`"));
        }
        None => prompt_username().map_err(failed)?,
    };
    let password = if args.password_stdin {
        io::read_to_string(io::stdin()).map_err(failed)?
    } else {
        rpassword::prompt_password("Password: ").map_err(failed)?
    };
    let password = password.trim_end_matches(['\r', '\n']);
    if username.is_empty() || username.contains(':') || password.is_empty() {
        return Err(CliError::usage(
            "a user name without `:` and a password that is not empty are needed",
        ));
    }
    Ok(Secret::new(STANDARD.encode(format!("{username}:{password}"))))
}

fn prompt_username() -> io::Result<String> {
    let mut name = String::new();
    io::Write::write_all(&mut io::stderr().lock(), b"Username: ")?;
    io::stdin().read_line(&mut name)?;
    Ok(name.trim().to_owned())
}

/// `entries` with the host's credentials; everything else in the file stays.
fn with_entry(
    mut entries: Map<String, Value>,
    host: &str,
    credentials: &Secret<String>,
) -> Map<String, Value> {
    let auths = entries.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    auths[host] = json!({ "auth": credentials.expose() });
    // A credential helper would be asked first, and answer with what it knows.
    if let Some(Value::Object(helpers)) = entries.get_mut("credHelpers") {
        helpers.remove(host);
    }
    entries
}

async fn check(host: &str, entries: &Map<String, Value>, app: &App) -> Result<(), Failure> {
    let auth_json = Some(Secret::new(Value::Object(entries.clone()).to_string()));
    let options = ClientOptions { auth_json, docker_config: None, ..app.client_options()? };
    let client = Client::new(options)?;
    match client.ping(host, &app.ctx).await {
        Ok(()) => Ok(()),
        // Nobody looked at the credentials yet: these say what is wrong with the line to the registry.
        Err(err @ (ClientError::UnknownAuthority { .. } | ClientError::Certificate { .. })) => {
            Err(err.into())
        }
        // The client's own words would advise to log in.
        Err(err) if err.class() == Class::Access => {
            Err(CliError::Credentials { registry: host.to_owned() }.into())
        }
        Err(err) => Err(err.into()),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    host: String,
    authfile: PathBuf,
    is_checked: bool,
}

impl Report for LoggedIn {
    fn to_text(&self) -> String {
        let checked = if self.is_checked { "" } else { ", unchecked" };
        format!("credentials for {} are in {}{checked}", self.host, self.authfile.display())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_login_keeps_everything_else_in_the_file() {
        let before =
            r#"{"auths": {"a": {"auth": "x"}}, "credHelpers": {"b": "h", "c": "h"}, "other": 1}"#;
        let before = parse_auth(Path::new("auth.json"), before).unwrap();
        let after = with_entry(before, "b", &Secret::new("new".to_owned()));
        let expected = json!({
            "auths": {"a": {"auth": "x"}, "b": {"auth": "new"}},
            "credHelpers": {"c": "h"},
            "other": 1,
        });
        assert_eq!(Value::Object(after), expected);
    }
}
