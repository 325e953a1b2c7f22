//! `emfs token`.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::DateTime;

use super::CliError;
use super::output::print;
use crate::decimal;
use crate::token::{Claims, Keys, new_key};
use crate::xdg;

/// Longest time that a token is valid.
const MAX_VALIDITY: u64 = 366 * 24 * 3600;

/// Give jobs tokens for `emfs serve`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A token says which datasets a job may read and until when. The server keeps nothing of it; it needs the same key file, which
is made with the first token and which only its owner can read. See `emfs help access`.

Examples:
  emfs token create --dataset hemibrain --expires 12h --job train-7
  emfs token key --revoke                       # a new key, and no token that was given before is valid any more")]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print a token
    Create(CreateArgs),
    /// Say what a token allows, or why it allows nothing
    Show(ShowArgs),
    /// Put a new key into a key file, by which tokens are signed from then on
    Key(KeyArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    keys: KeyFile,
    /// A dataset that may be read; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    /// How long it is valid: a number with s, m, h or d
    #[arg(long, value_name = "TIME", value_parser = validity)]
    expires: Duration,
    /// What it is for, for the server's log
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    keys: KeyFile,
    /// Fail unless it allows this dataset
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// The token; `-` is read from stdin
    token: String,
}

#[derive(Debug, clap::Args)]
struct KeyArgs {
    #[command(flatten)]
    keys: KeyFile,
    /// Leave the old keys out, so that no token signed by them is valid any more
    #[arg(long)]
    revoke: bool,
}

#[derive(Debug, clap::Args)]
struct KeyFile {
    /// The key file [default: $XDG_STATE_HOME/emfs/token-keys or ~/.local/state/emfs/token-keys]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyFile {
    fn path(&self) -> Result<PathBuf, CliError> {
        match &self.key_file {
            Some(file) => Ok(file.clone()),
            None => {
                let missing = |missing| CliError::Failed(format!("{missing}; name a file with --key-file"));
                Ok(xdg::state_home().map_err(missing)?.join("emfs").join("token-keys"))
            }
        }
    }
}

fn validity(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time such as 90s, 30m, 12h or 7d, above 0 and up to 366 days".to_owned();
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let (number, unit) =
        units.iter().find_map(|(unit, of)| Some((text.strip_suffix(*unit)?, *of))).ok_or_else(wrong)?;
    let seconds = decimal::unsigned(number).ok().and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=MAX_VALIDITY).contains(seconds)).map(Duration::from_secs).ok_or_else(wrong)
}

pub(super) fn run(command: &TokenCommand) -> Result<(), CliError> {
    match &command.action {
        Action::Create(args) => {
            let claims = Claims::new(args.dataset.clone(), args.expires, args.job.clone(), SystemTime::now());
            let file = args.keys.path()?;
            if !file.exists() {
                add_key(&file, false)?;
            }
            let token = keys(&file)?.sign(&claims);
            let token = token.ok_or_else(|| CliError::Failed("the token could not be signed".to_owned()))?;
            Ok(print(&format!("{token}\n"))?)
        }
        Action::Show(args) => {
            let token = match args.token.as_str() {
                "-" => std::io::read_to_string(std::io::stdin()).map_err(CliError::system("stdin"))?,
                token => token.to_owned(),
            };
            let claims = keys(&args.keys.path()?)?.verify(token.trim(), SystemTime::now());
            let claims = claims.map_err(|error| CliError::Failed(error.to_string()))?;
            if let Some(name) = args.dataset.as_ref().filter(|name| !claims.allows(name)) {
                return Err(CliError::Failed(format!("the token does not allow {name}")));
            }
            let datasets = claims.scope();
            let until = i64::try_from(claims.expires).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            let until = until.map_or("ever".to_owned(), |until| until.to_rfc3339());
            let job = claims.job.map_or(String::new(), |job| format!(", for {job}"));
            Ok(print(&format!("{datasets}, until {until}{job}\n"))?)
        }
        Action::Key(args) => add_key(&args.keys.path()?, args.revoke),
    }
}

/// The keys of a file.
fn keys(file: &Path) -> Result<Keys, CliError> {
    let text = fs::read_to_string(file).map_err(CliError::system(file.display().to_string()))?;
    Keys::parse(&text).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))
}

/// Writes the key file anew with another key at its top, so that who reads it meanwhile has the old or the new one whole.
fn add_key(file: &Path, revoke: bool) -> Result<(), CliError> {
    let system = || CliError::system(file.display().to_string());
    let old = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(system()(error)),
    };
    if !old.is_empty() {
        keys(file)?;
    }
    let kept = if revoke { "" } else { &old };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(system())?;
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(|mut out| {
            out.set_permissions(Permissions::from_mode(0o600))?;
            out.write_all(format!("{}\n{kept}", new_key()).as_bytes())?;
            out.sync_all()?;
            fs::rename(&new, file)
        });
    written.map_err(system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_for_a_time_with_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(validity(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "12", "h", "0h", "-1h", "1.5h", "367d", "99999999999999999999s", "+1h"] {
            assert!(validity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_file_is_of_its_owner_alone_and_old_keys_stay_until_they_are_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let lines = || fs::read_to_string(&file).unwrap().lines().count();
        add_key(&file, false).unwrap();
        add_key(&file, false).unwrap();
        assert_eq!((lines(), fs::metadata(&file).unwrap().permissions().mode() & 0o777), (2, 0o600));
        add_key(&file, true).unwrap();
        assert_eq!((lines(), fs::read_dir(folder.path()).unwrap().count()), (1, 1));
    }
}
