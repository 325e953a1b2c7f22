//! Reading objects that a store may lack, such as the empty chunks of an array: what is not there is shown as the fill value.

use std::ops::Range;
use std::time::Instant;

use super::entry_metadata::EntryMetadata;
use super::healing::is_past_caches;
use super::object::Object;
use super::witness::Witness;
use crate::remote::{Cause, Fetched, RangeRequest, RemoteError};

impl Object {
    /// The whole object, refused when longer than `limit`; `None` where its store lacks it, as `witness` bears out.
    pub async fn whole_if_there(&self, limit: u64, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
        ask(self, RangeRequest::Whole(limit), witness).await
    }

    /// The bytes of `range`, which must not be empty, of an object that its store may lack.
    pub async fn range_if_there(&self, range: Range<u64>, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
        ask(self, RangeRequest::Range(range), witness).await
    }

    /// The last `length` bytes, which must not be 0, fewer only where the object is shorter; `total` is always known.
    pub async fn end_if_there(&self, length: u64, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
        if let Some(total) = self.total().filter(|total| *total > 0) {
            let fetched = self.range_if_there(total.saturating_sub(length)..total, witness).await?;
            // It may have become another one meanwhile.
            if fetched.as_ref().and_then(|fetched| fetched.total).is_none_or(|now| now == total) {
                return Ok(fetched);
            }
        }
        match ask(self, RangeRequest::End(length), witness).await {
            // Some servers give ranges, but no ends.
            Err(RemoteError { cause: Cause::Protocol(_) | Cause::Status(400 | 501), .. }) => {
                let Some(start) = ask(self, RangeRequest::Start(1), witness).await? else { return Ok(None) };
                match start.total.filter(|total| *total > 0) {
                    Some(total) => self.range_if_there(total.saturating_sub(length)..total, witness).await,
                    None => Ok(Some(start)),
                }
            }
            answer => answer,
        }
    }
}

/// Gets what `ask` wants of an object that its store may lack; `None` where it does.
async fn ask(object: &Object, ask: RangeRequest, witness: &Witness) -> Result<Option<Fetched>, RemoteError> {
    let known = object.look().await;
    if !is_past_caches() && witness.knows_absent(object).is_some() {
        return Ok(None);
    }
    // Metadata that is not believed must not be the answer.
    let answer = match known.as_ref().and_then(|known| known.metadata.as_ref()) {
        Some(EntryMetadata::Absent(_)) => object.run_past_caches(ask).await,
        _ => object.run(ask).await,
    };
    let error = match answer {
        Ok(fetched) => {
            witness.has_seen(object);
            return Ok(Some(fetched));
        }
        Err(error) => error,
    };
    let said = Instant::now();
    let failed = |cause| RemoteError { cause, ..error.clone() };
    let is_absent = match error.cause {
        Cause::NotFound => true,
        Cause::Denied(403) => witness.denies_what_it_lacks().await.map_err(failed)?,
        _ => false,
    };
    if !is_absent {
        return Err(error);
    }
    if let Some(told) = witness.in_the_way(object).await? {
        return Err(failed(Cause::Elsewhere(told)));
    }
    // A bad answer of before, of which nothing could be made, is forgotten by now and does not speak against it.
    let known = object.look().await;
    if object.has_version() {
        return Err(failed(Cause::Changed("it is not there any more".to_owned())));
    }
    witness.believe(object, known, said).await.map_err(failed)?;
    if is_past_caches() && object.looked_up_absence().is_none() {
        // It is kept nowhere that it is absent, and the bad answer must not be either.
        object.forget();
    }
    Ok(None)
}
