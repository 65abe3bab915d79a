//! The one place that looks at the environment: everything else is handed what it found.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use airlift_upstream::releases::ReleasePlaces;

use crate::error::CliError;

/// The environment as it was when airlift started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

/// Proxies by what they are for; `no_proxy` lists the hosts that are reached without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Proxies {
    pub(crate) http: Option<String>,
    pub(crate) https: Option<String>,
    pub(crate) no_proxy: Option<String>,
}

impl Environment {
    pub(crate) fn of_this_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// A variable that is set to something.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(&OsString::from(name))?;
        (!value.is_empty()).then(|| PathBuf::from(value))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.path(name)?.into_os_string().into_string().ok()
    }

    /// A folder by the XDG rules: relative values count as not set.
    fn folder(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.path(name).filter(|path| path.is_absolute());
        set.or_else(|| self.path("HOME").map(|home| home.join(below_home)))
    }

    /// Where programs such as `helm` are looked for.
    pub(crate) fn programs(&self) -> OsString {
        self.path("PATH").unwrap_or_default().into_os_string()
    }

    /// Where releases of OpenShift are looked up, by the variables that `oc-mirror` knows.
    pub(crate) fn release_places(&self) -> ReleasePlaces {
        ReleasePlaces {
            graph: self.text("UPDATE_URL_OVERRIDE"),
            signatures: self.text("OCP_SIGNATURE_URL"),
            keys: self.path("OCP_SIGNATURE_VERIFICATION_PK"),
            ..ReleasePlaces::default()
        }
    }

    fn config_home(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME", ".config")
    }

    /// Where `config.toml`, the signing key and the trusted keys are.
    pub(crate) fn config_folder(&self) -> Result<PathBuf, CliError> {
        self.config_home().map(|home| home.join("airlift")).ok_or(CliError::NoHome { flag: None })
    }

    pub(crate) fn default_store(&self) -> Result<PathBuf, CliError> {
        let home = self.folder("XDG_DATA_HOME", ".local/share");
        home.map(|home| home.join("airlift/store"))
            .ok_or(CliError::NoHome { flag: Some("--store") })
    }

    pub(crate) fn default_state(&self) -> Result<PathBuf, CliError> {
        let home = self.folder("XDG_STATE_HOME", ".local/state");
        home.map(|home| home.join("airlift")).ok_or(CliError::NoHome { flag: Some("--state") })
    }

    /// containers' files with registry credentials, those that win first.
    pub(crate) fn containers_auth_files(&self) -> Vec<PathBuf> {
        let runtime =
            self.path("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
        runtime.into_iter().chain(self.login_file()).collect()
    }

    /// Docker's `config.json`, which is asked after containers' own.
    pub(crate) fn docker_config_file(&self) -> Option<PathBuf> {
        let folder =
            self.path("DOCKER_CONFIG").or_else(|| Some(self.path("HOME")?.join(".docker")));
        folder.map(|folder| folder.join("config.json"))
    }

    /// Where `login` puts credentials unless told otherwise: the one place that outlives a logout.
    pub(crate) fn login_file(&self) -> Option<PathBuf> {
        Some(self.config_home()?.join("containers/auth.json"))
    }

    /// The file that `REGISTRY_AUTH_FILE` names.
    pub(crate) fn chosen_auth_file(&self) -> Option<PathBuf> {
        self.path("REGISTRY_AUTH_FILE")
    }

    /// The folder that oc-mirror's cache lies in, as `OC_MIRROR_CACHE` says it.
    pub(crate) fn oc_mirror_cache(&self) -> Option<String> {
        self.text("OC_MIRROR_CACHE")
    }

    /// `registries.conf` and the folders whose `*.conf` files are laid over it, in order.
    pub(crate) fn registries_conf(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let own = self.config_home().map(|home| home.join("containers"));
        let system = PathBuf::from("/etc/containers");
        let files = match self.path("CONTAINERS_REGISTRIES_CONF") {
            Some(chosen) => vec![chosen],
            None => own.iter().chain([&system]).map(|dir| dir.join("registries.conf")).collect(),
        };
        let folders = [&system].into_iter().chain(&own);
        (files, folders.map(|dir| dir.join("registries.conf.d")).collect())
    }

    /// Proxies as curl and Go read them: lower case wins, and `HTTP_PROXY` is for plain HTTP alone.
    pub(crate) fn proxies(&self) -> Proxies {
        let either = |lower: &str, upper: &str| self.text(lower).or_else(|| self.text(upper));
        Proxies {
            http: either("http_proxy", "HTTP_PROXY"),
            https: either("https_proxy", "HTTPS_PROXY"),
            no_proxy: either("no_proxy", "NO_PROXY"),
        }
    }

    pub(crate) fn is_dumb_terminal(&self) -> bool {
        self.text("TERM").is_none_or(|term| term == "dumb")
    }

    /// What `-v` shows, for those who know our modules.
    pub(crate) fn log_filter(&self) -> Option<String> {
        self.text("AIRLIFT_LOG")
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self { variables: variables.map(|(name, value)| (name.into(), value.into())).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_xdg_and_then_home() {
        let home = Environment::from([("HOME", "/home/a")]);
        assert_eq!(
            home.default_store().unwrap(),
            PathBuf::from("/home/a/.local/share/airlift/store")
        );
        assert_eq!(home.default_state().unwrap(), PathBuf::from("/home/a/.local/state/airlift"));
        assert_eq!(home.config_folder().unwrap(), PathBuf::from("/home/a/.config/airlift"));
        let set = Environment::from([("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(set.default_store().unwrap(), PathBuf::from("/data/airlift/store"));
        let relative = Environment::from([("HOME", "/home/a"), ("XDG_DATA_HOME", "data")]);
        assert_eq!(relative.default_store().unwrap(), home.default_store().unwrap());
    }

    #[test]
    fn without_a_home_the_error_names_the_flag_that_helps() {
        let err = Environment::default().default_store().unwrap_err();
        assert!(matches!(err, CliError::NoHome { flag: Some("--store") }), "{err}");
    }

    #[test]
    fn credentials_are_looked_for_where_podman_and_docker_keep_them() {
        let environment =
            Environment::from([("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        let expected = ["/run/user/1/containers/auth.json", "/home/a/.config/containers/auth.json"];
        assert_eq!(environment.containers_auth_files(), expected.map(PathBuf::from));
        let docker = |environment: Environment| environment.docker_config_file().unwrap();
        assert_eq!(docker(environment), PathBuf::from("/home/a/.docker/config.json"));
        assert_eq!(docker([("DOCKER_CONFIG", "/d")].into()), PathBuf::from("/d/config.json"));
    }

    #[test]
    fn a_chosen_registries_conf_replaces_both_usual_ones() {
        let usual = Environment::from([("HOME", "/home/a")]).registries_conf();
        let files =
            ["/home/a/.config/containers/registries.conf", "/etc/containers/registries.conf"];
        assert_eq!(usual.0, files.map(PathBuf::from));
        let folders =
            ["/etc/containers/registries.conf.d", "/home/a/.config/containers/registries.conf.d"];
        assert_eq!(usual.1, folders.map(PathBuf::from));
        let chosen = Environment::from([("CONTAINERS_REGISTRIES_CONF", "/r.conf")]);
        assert_eq!(chosen.registries_conf().0, [PathBuf::from("/r.conf")]);
    }

    #[test]
    fn lower_case_proxies_win_and_empty_ones_are_none() {
        let environment = Environment::from([
            ("HTTP_PROXY", "http://upper"),
            ("http_proxy", "http://lower"),
            ("HTTPS_PROXY", ""),
            ("NO_PROXY", "a,b"),
        ]);
        let expected = Proxies {
            http: Some("http://lower".into()),
            https: None,
            no_proxy: Some("a,b".into()),
        };
        assert_eq!(environment.proxies(), expected);
    }
}
