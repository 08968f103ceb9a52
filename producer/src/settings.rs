//! Finds the settings: the only module of Longshore that reads the process's environment and the settings file.
//!
//! What the texts mean, and what is wrong with them, is [`longshore_model::settings`]' work.

use longshore_model::settings::{Loaded, Problems, Settings};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The settings file in the working directory that is read when no other is named.
pub const DEFAULT_FILE: &str = "longshore.toml";

/// Names the settings file.
const FILE_VARIABLE: &str = "LONGSHORE_CONFIG";

/// Why there are no settings. The message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A settings file was named and cannot be read.
    #[error("cannot read the settings file {} (named by {named_by}): {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// `--config`, `LONGSHORE_CONFIG`, or the working directory.
        named_by: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A variable is not UTF-8.
    #[error("the environment variable {0} is not UTF-8 text; set it again, or remove it")]
    NotText(String),
    /// The settings were found and cannot be used.
    #[error(transparent)]
    Bad(#[from] Problems),
}

/// Reads all layers: defaults, the file (`config`, else `LONGSHORE_CONFIG`, else `longshore.toml` in the working
/// directory if there is one), the environment, and flags (key and value, such as `instance.concurrency` and `4`).
///
/// # Errors
/// [`SettingsError`]; bad values are reported all at once.
pub fn load(config: Option<&Path>, flags: &[(String, String)]) -> Result<Loaded, SettingsError> {
    load_from(config, std::env::vars_os(), Path::new(""), flags)
}

/// The whole environment of this process, for processes that it starts. It may hold secrets.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// Where programs keep what must outlive them: `$XDG_STATE_HOME`, else `$HOME/.local/state`; `None` when neither is
/// set, so that a home has to be named.
#[must_use]
pub fn state_directory() -> Option<PathBuf> {
    state_directory_of(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))
}

/// Who works here, for people: `user@host`, as far as the process's environment and the system say.
#[must_use]
pub fn user() -> String {
    let named =
        |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned()).filter(|user| !user.is_empty());
    let name = ["LOGNAME", "USER"].into_iter().find_map(named);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}

fn state_directory_of(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // The XDG rules: a relative path counts as not set.
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(state).or_else(|| Some(absolute(home)?.join(".local/state")))
}

fn load_from(
    config: Option<&Path>,
    env: impl Iterator<Item = (OsString, OsString)>,
    directory: &Path,
    flags: &[(String, String)],
) -> Result<Loaded, SettingsError> {
    let env = texts(env)?;
    let variable = env.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
    let (path, named_by) = match (config, variable) {
        (Some(path), _) => (path.to_owned(), "--config"),
        (None, Some((_, path))) => (PathBuf::from(path), FILE_VARIABLE),
        (None, None) => (directory.join(DEFAULT_FILE), "the working directory"),
    };
    let named = config.is_some() || variable.is_some();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => None,
        Err(source) => return Err(SettingsError::Unreadable { path, named_by, source }),
    };
    let name = path.display().to_string();
    Ok(Settings::read(text.as_deref().map(|text| (name.as_str(), text)), env, flags)?)
}

/// The variables of Longshore as texts. Others are not looked at: their content is nobody's business here.
fn texts(env: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, SettingsError> {
    let mut texts = Vec::new();
    for (name, value) in env {
        let Some(name) = name.to_str().filter(|name| name.starts_with("LONGSHORE_")) else { continue };
        let value = value.into_string().map_err(|_| SettingsError::NotText(name.to_owned()))?;
        texts.push((name.to_owned(), value));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        pairs.into_iter()
    }

    #[test]
    fn the_named_file_wins_over_the_one_in_the_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["longshore.toml", "variable.toml", "flag.toml"] {
            fs::write(path(name), format!("namespace = \"{}\"", name.split('.').next().unwrap())).unwrap();
        }
        let variable = path("variable.toml").display().to_string();
        let named = [("LONGSHORE_CONFIG", variable.as_str()), ("LONGSHORE_LEASE__BEAT", "1s")];
        let namespace = |config: Option<&Path>, pairs: &[(&str, &str)]| {
            let loaded = load_from(config, env(pairs), directory.path(), &[]).unwrap();
            (loaded.settings.namespace.to_string(), loaded.origins["namespace"].to_string())
        };
        assert_eq!(namespace(None, &[]).0, "longshore");
        assert_eq!(namespace(None, &named), ("variable".into(), format!("{variable}:1")));
        assert_eq!(namespace(Some(&path("flag.toml")), &named).0, "flag");
    }

    #[test]
    fn no_file_is_fine_unless_it_was_named() {
        let directory = tempfile::tempdir().unwrap();
        let loaded = load_from(None, env(&[("OTHER", "x")]), directory.path(), &[]).unwrap();
        assert_eq!(loaded.settings, Settings::default());
        let missing = directory.path().join("missing.toml");
        let error = load_from(Some(&missing), env(&[]), directory.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("missing.toml (named by --config)"), "{error}");
    }

    #[test]
    fn problems_of_all_layers_come_together() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(DEFAULT_FILE), "x = 1\n").unwrap();
        let flags = [("y".to_owned(), "1".to_owned())];
        let error = load_from(None, env(&[("LONGSHORE_Z", "1")]), directory.path(), &flags).unwrap_err().to_string();
        assert!(error.starts_with("the settings have 3 problems:"), "{error}");
        assert!(error.contains("longshore.toml:1: x: "), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_text_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let bad = OsString::from_vec(vec![0xff]);
        let env = [("OTHER".into(), bad.clone()), ("LONGSHORE_HOME".into(), bad)].into_iter();
        let error = load_from(None, env, Path::new("/nowhere"), &[]).unwrap_err().to_string();
        assert!(error.contains("LONGSHORE_HOME is not UTF-8"), "{error}");
    }

    #[test]
    fn the_state_directory_follows_the_xdg_rules() {
        let of = |state: Option<&str>, home: Option<&str>| {
            state_directory_of(state.map(Into::into), home.map(Into::into)).map(|path| path.display().to_string())
        };
        assert_eq!(of(Some("/s"), Some("/h")).as_deref(), Some("/s"));
        assert_eq!(of(Some("relative"), Some("/h")).as_deref(), Some("/h/.local/state"));
        assert_eq!(of(None, None), None);
    }
}
