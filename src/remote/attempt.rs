//! One request and the checks of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};

use super::Cause;
use super::backoff::FailedAttempt;
use super::checks::{ExpectedBody, Length, RangeRequest, expected_body};
use super::checksum;
use super::clock::Clock;
use super::fetched::Fetched;
use super::head::Head;
use super::limits::{Host, Permit};
use super::pin::{ObjectVersion, Pin};
use super::speed::Speed;
use super::transport::{Transport, TransportBody};
use super::wanted::{Wanted, WantedBytes};

/// The first allocation for a body of unknown length.
const FIRST_PIECE: u64 = 64 << 10;
/// The largest allocation that is made on an origin's word; a longer body grows as it comes.
const MAX_PIECE: u64 = 32 << 20;
/// An explanation of an error is received up to here, which keeps the connection for the next request.
const EXPLANATION: usize = 64 << 10;
/// How long that may take.
const EXPLAINING: Duration = Duration::from_millis(500);

/// What the attempts of one operation share.
pub(super) struct Task<'a> {
    pub transport: &'a Transport,
    pub host: &'a Arc<Host>,
    pub pin: &'a Pin,
    pub ask: RangeRequest,
    /// Whether no cache on the way may answer.
    pub past_caches: bool,
    pub clock: Clock,
    /// Requests sent.
    pub sent: AtomicU32,
    /// How the last of them that failed did.
    pub failed: Mutex<Option<Cause>>,
}

/// When an attempt last received something, and how much in all; nothing while its request is not sent.
#[derive(Debug, Default)]
pub(super) struct LastActivity(Mutex<Option<Flow>>);

#[derive(Debug)]
struct Flow {
    last: Instant,
    speed: Speed,
    bytes: u64,
}

impl LastActivity {
    /// When it last had a sign of life. What drips in is none.
    pub(super) fn last(&self) -> Option<Instant> {
        self.0.lock().as_ref().map(|flow| flow.last)
    }

    /// Bytes of the body so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().as_ref().map_or(0, |flow| flow.bytes)
    }

    /// The request is sent, or the head of its answer is there.
    fn beat(&self) {
        let now = Instant::now();
        *self.0.lock() = Some(Flow { last: now, speed: Speed::start(now), bytes: 0 });
    }

    /// So many bytes of the body are there.
    fn received(&self, bytes: u64, now: Instant) {
        if let Some(flow) = self.0.lock().as_mut() {
            let new = bytes.saturating_sub(flow.bytes);
            flow.bytes = bytes;
            if flow.speed.received(new, now) {
                flow.last = now;
            }
        }
    }
}

/// Sends one request when the rate limit allows it. The caller holds the permit as well. Dropping the future drops the connection.
pub(super) async fn attempt(
    task: &Task<'_>,
    activity: &LastActivity,
    permit: Permit,
) -> Result<Fetched, FailedAttempt> {
    task.host.rate_limit(&task.clock).await?;
    // What was wrong with the answer before may be kept by a proxy.
    let past_caches = task.sent.fetch_add(1, Ordering::Relaxed) > 0 || task.past_caches;
    let in_flight = task.host.in_flight();
    let result = request(task, activity, past_caches, permit).await;
    drop(in_flight);
    if let Err(failure) = &result {
        *task.failed.lock() = Some(failure.cause.clone());
    }
    match &result {
        Ok(_) => task.host.served(),
        Err(FailedAttempt { cause: Cause::NotFound | Cause::Denied(_) | Cause::Forbidden(_), .. }) => {
            task.host.served()
        }
        Err(FailedAttempt { cause: Cause::Status(status), retry_after: Some(pause), .. }) => {
            // A server that asks for a year is asked again after one timeout, so that it can change its mind.
            task.host.retry_after((*pause).min(task.clock.timeout()), *status);
        }
        Err(_) => {}
    }
    result
}

async fn request(
    task: &Task<'_>,
    activity: &LastActivity,
    past_caches: bool,
    permit: Permit,
) -> Result<Fetched, FailedAttempt> {
    let (known, etag) = (task.pin.version(), task.pin.condition());
    activity.beat();
    let part = match &task.ask {
        RangeRequest::End(length) => Some(WantedBytes::End(*length)),
        ask => ask.range().map(WantedBytes::Range),
    };
    let wanted = Wanted { part, if_match: etag.as_deref(), past_caches };
    let opened = task.transport.open(wanted, permit).await;
    if opened.as_ref().map_or_else(|failed| failed.cause.is_invalid(), |_| true) {
        task.host.breaker.answered();
    }
    let (head, mut body) = opened?;
    activity.beat();
    if !matches!(head.status, 200 | 206) {
        // Absent blocks are asked for by the thousand: a new connection for each would be the larger part of the work.
        let _ = timeout(EXPLAINING, discard(&mut body)).await;
    }
    let expected_body = expected_body(&task.ask, &head, known.is_some(), etag.is_some())?;
    if expected_body.length == Length::Empty {
        // The head describes the explanation in the body, not the object.
        let known = known.unwrap_or(ObjectVersion { etag: None, last_modified: None, total: None });
        task.pin.settle(ObjectVersion { total: Some(0), ..known }, &task.ask, &[]).map_err(FailedAttempt::doubtful)?;
        let (etag, last_modified, content_type) = (None, None, None);
        return Ok(Fetched { bytes: Bytes::new(), total: Some(0), etag, last_modified, content_type, decoded: false });
    }
    task.pin.check(&ObjectVersion::of(&head, expected_body.total)).map_err(FailedAttempt::doubtful)?;
    let bytes = collect(task, activity, body, expected_body).await?;
    checksum::check(&head.checksums, head.status == 200, task.host.has_md5_etags(), &bytes)?;
    let total = match expected_body.length {
        Length::AtMost(_) => Some(bytes.len() as u64),
        Length::Exactly(_) | Length::Empty => expected_body.total,
    };
    task.pin.settle(ObjectVersion::of(&head, total), &task.ask, &bytes).map_err(FailedAttempt::doubtful)?;
    let compression = head.compression().map_err(FailedAttempt::invalid)?;
    let Head { etag, last_modified, content_type, .. } = head;
    if let (RangeRequest::Whole(limit), Some(compression)) = (&task.ask, compression) {
        let most = usize::try_from(*limit).unwrap_or(usize::MAX);
        let plain = compression.undo(&bytes, most).map_err(FailedAttempt::malformed_body)?;
        let (total, bytes) = (Some(plain.len() as u64), Bytes::from(plain));
        return Ok(Fetched { bytes, total, etag, last_modified, content_type, decoded: true });
    }
    Ok(Fetched { bytes, total, etag, last_modified, content_type, decoded: false })
}

/// Receives the body into a buffer that is never longer than what was expected.
async fn collect(
    task: &Task<'_>,
    activity: &LastActivity,
    mut body: TransportBody,
    expected_body: ExpectedBody,
) -> Result<Bytes, FailedAttempt> {
    let (limit, reserve) = match expected_body.length {
        Length::Exactly(length) => (length, length.min(MAX_PIECE)),
        Length::AtMost(limit) => (limit, limit.min(FIRST_PIECE)),
        Length::Empty => (0, 0),
    };
    let reserve = usize::try_from(reserve)
        .map_err(|_| FailedAttempt::last(Cause::Request(format!("{reserve} bytes do not fit into memory"))))?;
    let mut buffer = BytesMut::with_capacity(reserve);
    while let Some(piece) = body.chunk(buffer.len()).await? {
        let now = Instant::now();
        task.host.counters().bytes.add(piece.len() as u64);
        let length = (buffer.len() as u64).saturating_add(piece.len() as u64);
        activity.received(length, now);
        if task.clock.received(length, now) {
            task.host.served();
        }
        if length > limit {
            return Err(match expected_body.length {
                Length::AtMost(limit) => FailedAttempt::doubtful(Cause::TooLong { length, limit }),
                _ => FailedAttempt::malformed_body(format!("a body of {length} bytes or more instead of {limit}")),
            });
        }
        buffer.extend_from_slice(&piece);
    }
    if matches!(expected_body.length, Length::Exactly(length) if length != buffer.len() as u64) {
        return Err(FailedAttempt::malformed_body(format!("a body of {} bytes instead of {limit}", buffer.len())));
    }
    task.clock.complete();
    Ok(buffer.freeze())
}

/// Receives a body that nobody reads, unless it is long.
async fn discard(body: &mut TransportBody) {
    let mut left = EXPLANATION;
    while let Ok(Some(piece)) = body.chunk(0).await
        && piece.len() <= left
    {
        left -= piece.len();
    }
}
