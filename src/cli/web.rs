//! Options of what serves the tree over HTTP.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use super::CliError;
use crate::daemon::Web;
use crate::http::{self, Access, JobTokens, PageOrigin, Token};

/// Where it is served if nobody says.
pub(super) const ADDRESS: &str = "127.0.0.1:8474";

/// Who may read, and how.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WebArgs {
    /// Readers need the token in this file: as `Authorization: Bearer TOKEN`, or as the first part of the path
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Tokens of `emfs token create` are valid that a key of this file has signed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Let whoever reaches the address read, also from other machines
    #[arg(long, conflicts_with_all = ["token_file", "key_file"])]
    public: bool,
    /// Let pages of this origin read, as `https://example.org`; can be given several times [default: any]
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<PageOrigin>,
    /// Serve with TLS: the certificate, and those above it, in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Reads `ADDR:PORT`; a name is looked up.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let found =
        text.to_socket_addrs().map_err(|error| format!("{error}; an address and a port are needed, as {ADDRESS}"))?;
    found.into_iter().next().ok_or_else(|| format!("no address is known for {text}"))
}

impl WebArgs {
    /// Whether anything was said of how to serve.
    pub fn is_given(&self) -> bool {
        let WebArgs { token_file, key_file, public, allow_origin, tls_cert, tls_key } = self;
        let files = [token_file, key_file, tls_cert, tls_key];
        *public || !allow_origin.is_empty() || files.into_iter().any(Option::is_some)
    }

    /// Other machines get nothing unless that was meant.
    pub fn check(&self, address: SocketAddr) -> Result<(), CliError> {
        let is_limited = self.token_file.is_some() || self.key_file.is_some();
        if address.ip().is_loopback() || is_limited || self.public {
            return Ok(());
        }
        Err(CliError::Usage(format!(
            "at {address} everybody who reaches this machine could read all that is served, your own files included; name a \
             token with --token-file FILE, or the keys of tokens with --key-file FILE, or say --public"
        )))
    }

    /// The server at an address, with everything read that is needed for it.
    pub fn web(&self, address: SocketAddr) -> Result<Web, CliError> {
        self.check(address)?;
        let token = self.token_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file).map_err(CliError::system(file.display().to_string()))?;
            Token::new(&text).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))
        });
        let token = token.transpose()?;
        let jobs = self.key_file.clone().map(JobTokens::of).transpose();
        let jobs = jobs.map_err(|error| CliError::Failed(error.to_string()))?.map(Arc::new);
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(http::acceptor(certificate, key).map_err(|error| CliError::Failed(error.to_string()))?)
            }
            _ => None,
        };
        Ok(Web { address, access: Access { token, jobs, origins: self.allow_origin.clone() }, tls })
    }
}
