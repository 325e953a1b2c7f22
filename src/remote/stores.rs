//! Object stores: where their objects are, and signatures for requests that are not anonymous.
//!
//! An object of a bucket has an ordinary `https` address, so every request goes through the one HTTP transport and its
//! checks, anonymous or not. `object_store` does what is hard: it finds the environment's credentials (keys, service
//! accounts, tokens of instances and pods, their renewal) and signs. Its own reader is not used, because it hands out
//! bodies that are too short or too long, panics at a `Content-Range` that ends at 2⁶⁴−1, and hides `Retry-After`.
//! As anonymous requests do not touch it, it cannot read a user's gcloud files for them.

use std::fmt;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::{ClientOptions, RetryConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

/// What a signature covers must be written the same on both sides: everything but the unreserved characters is encoded.
const KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StoreKind {
    S3,
    Gcs,
}

impl StoreKind {
    pub(super) fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(StoreKind::S3),
            "gs" => Some(StoreKind::Gcs),
            _ => None,
        }
    }

    /// The address of the object that `url` (`s3://bucket/key`, `gs://bucket/key`) names.
    pub(super) fn address(self, url: &Url, endpoint: Option<&Url>) -> Result<Url, String> {
        let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or("no bucket is named")?;
        let key = percent_decode_str(url.path()).decode_utf8().map_err(|_| "the key is not UTF-8")?;
        let key = utf8_percent_encode(&key, &KEY);
        let text = match (endpoint, self) {
            (Some(endpoint), _) => format!("{}/{bucket}{key}", endpoint.as_str().trim_end_matches('/')),
            // The certificate covers one name below s3.amazonaws.com, so a bucket with dots is named in the path.
            (None, StoreKind::S3) if bucket.contains('.') => format!("https://s3.amazonaws.com/{bucket}{key}"),
            (None, StoreKind::S3) => format!("https://{bucket}.s3.amazonaws.com{key}"),
            (None, StoreKind::Gcs) => format!("https://storage.googleapis.com/{bucket}{key}"),
        };
        Url::parse(&text).map_err(|error| format!("`{text}`: {error}"))
    }
}

/// Signs requests with the environment's credentials.
pub(super) enum Signer {
    S3 { store: Box<AmazonS3>, region: String },
    Gcs(Box<GoogleCloudStorage>),
}

impl Signer {
    /// Reads the environment, and files that it names; uses no network.
    pub(super) fn from_env(store: StoreKind) -> Result<Self, String> {
        match store {
            StoreKind::S3 => Self::s3(AmazonS3Builder::from_env()),
            StoreKind::Gcs => Self::gcs(GoogleCloudStorageBuilder::from_env()),
        }
    }

    fn s3(builder: AmazonS3Builder) -> Result<Self, String> {
        let region = builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".into());
        // Credentials do not depend on the bucket, but a store cannot be built without one.
        let builder = builder.with_bucket_name("any").with_retry(no_retries()).with_client_options(options());
        let store = builder.build().map_err(|error| chain(&error))?;
        Ok(Signer::S3 { store: Box::new(store), region })
    }

    fn gcs(builder: GoogleCloudStorageBuilder) -> Result<Self, String> {
        let builder = builder.with_bucket_name("any").with_retry(no_retries()).with_client_options(options());
        Ok(Signer::Gcs(Box::new(builder.build().map_err(|error| chain(&error))?)))
    }

    /// The headers that a `GET` of `url` needs besides its own. May ask a token service.
    pub(super) async fn headers(&self, url: &Url) -> Result<HeaderMap, String> {
        match self {
            Signer::S3 { store, region } => {
                let credential = store.credentials().get_credential().await.map_err(|error| chain(&error))?;
                // The signing code panics at what cannot stand in a header.
                let words = [Some(&credential.key_id), credential.token.as_ref(), Some(region)];
                if !words.into_iter().flatten().all(|word| word.bytes().all(|byte| byte.is_ascii_graphic())) {
                    return Err("the key, the token or the region has a character that no header can hold".into());
                }
                let mut request = HttpRequest::new(HttpRequestBody::empty());
                *request.uri_mut() = url.as_str().parse().map_err(|_| format!("`{url}` cannot be signed"))?;
                AwsAuthorizer::new(&credential, "s3", region)
                    .try_authorize(&mut request, None)
                    .map_err(|error| chain(&error))?;
                Ok(std::mem::take(request.headers_mut()))
            }
            Signer::Gcs(store) => {
                let credential = store.credentials().get_credential().await.map_err(|error| chain(&error))?;
                let mut value = HeaderValue::from_str(&format!("Bearer {}", credential.bearer))
                    .map_err(|_| "the token is no header value")?;
                value.set_sensitive(true);
                Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
            }
        }
    }
}

impl fmt::Debug for Signer {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signer::S3 { .. } => "Signer::S3",
            Signer::Gcs(_) => "Signer::Gcs",
        })
    }
}

/// Repetitions and time limits are the operation's.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn options() -> ClientOptions {
    ClientOptions::new().with_timeout_disabled()
}

/// An error with its sources, because the outer ones alone do not say what happened.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::http::{Clients, HttpTarget};
    use super::super::tests::origin::{Origin, correct};
    use super::super::wanted::{Wanted, WantedBytes};
    use super::*;

    fn address(url: &str, endpoint: Option<&str>) -> String {
        let url = Url::parse(url).unwrap();
        let endpoint = endpoint.map(|endpoint| Url::parse(endpoint).unwrap());
        StoreKind::of_scheme(url.scheme()).unwrap().address(&url, endpoint.as_ref()).unwrap().into()
    }

    #[test]
    fn public_objects_are_where_the_services_have_them() {
        assert_eq!(address("s3://cells/a/b", None), "https://cells.s3.amazonaws.com/a/b");
        assert_eq!(address("s3://my.cells/a/b", None), "https://s3.amazonaws.com/my.cells/a/b");
        assert_eq!(address("gs://cells/a/b", None), "https://storage.googleapis.com/cells/a/b");
    }

    #[test]
    fn an_endpoint_has_buckets_in_its_path() {
        assert_eq!(address("s3://cells/a", Some("http://127.0.0.1:9000")), "http://127.0.0.1:9000/cells/a");
        assert_eq!(address("gs://cells/a", Some("http://h/x/")), "http://h/x/cells/a");
    }

    #[test]
    fn keys_are_encoded_once_whatever_is_in_them() {
        assert_eq!(address("s3://b/a=1 +%20%25", None), "https://b.s3.amazonaws.com/a%3D1%20%2B%20%25");
        assert_eq!(address("s3://b/a\\b", None), "https://b.s3.amazonaws.com/a%5Cb");
    }

    #[tokio::test]
    async fn a_request_is_signed_with_the_given_key() {
        let origin = Origin::start(|_, request| correct(b"0123456789", "\"v1\"", request)).await;
        let builder = AmazonS3Builder::new().with_access_key_id("KEY").with_secret_access_key("SECRET");
        let signer = Signer::s3(builder.with_region("eu-west-1")).unwrap();
        assert!(!format!("{signer:?}").contains("SECRET"));
        let url = Url::parse(&origin.url()).unwrap().join("bucket/key").unwrap();
        let clients = Clients::new(Duration::from_secs(5)).unwrap();
        let target = HttpTarget { clients, url, signer: Some(Arc::new(signer)), is_s3: true };
        let (head, _) = target
            .open(Wanted { part: Some(WantedBytes::Range(2..5)), if_match: None, past_caches: false })
            .await
            .unwrap();
        assert_eq!(head.status, 206);
        let headers = origin.requests()[0].headers.clone();
        let signature = &headers["authorization"];
        assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=KEY/") && signature.contains("/eu-west-1/s3/"));
        assert!(headers.contains_key("x-amz-date") && headers.contains_key("x-amz-content-sha256"));
        assert_eq!(headers["range"], "bytes=2-4");
    }

    #[tokio::test]
    async fn a_token_that_is_no_header_is_an_error() {
        let builder = AmazonS3Builder::new().with_access_key_id("KEY").with_secret_access_key("SECRET");
        let signer = Signer::s3(builder.with_token("to\nken")).unwrap();
        assert!(signer.headers(&Url::parse("http://h/x").unwrap()).await.is_err());
    }

    #[test]
    fn half_of_a_credential_is_refused() {
        assert!(Signer::s3(AmazonS3Builder::new().with_access_key_id("KEY")).is_err());
    }
}
