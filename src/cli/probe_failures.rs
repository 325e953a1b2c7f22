//! How asking many sources ended.

use super::CliError;
use crate::volume::VolumeError;

/// Sources of which nothing can be told.
#[derive(Debug, Default)]
pub(super) struct ProbeFailures {
    silent: usize,
    unsuitable: usize,
}

impl ProbeFailures {
    /// Counts a source that cannot be opened.
    pub fn add(&mut self, error: &VolumeError) {
        let count = if error.is_outage() { &mut self.silent } else { &mut self.unsuitable };
        *count += 1;
    }

    /// Fails where any of `sources` was counted, and says how many could not be asked and how many answered in vain.
    pub fn end(self, sources: usize) -> Result<(), CliError> {
        let of = |count: usize, what: &str| (count > 0).then(|| format!("{count} of {sources} sources {what}"));
        let told = [of(self.silent, "did not answer"), of(self.unsuitable, "cannot be shown")];
        let told: Vec<String> = told.into_iter().flatten().collect();
        if told.is_empty() { Ok(()) } else { Err(CliError::Failed(told.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Cause, RemoteError};
    use crate::source::SourceError;

    #[test]
    fn sources_that_are_silent_are_told_apart_from_those_that_cannot_be_shown() {
        let remote = |cause| {
            VolumeError::from(SourceError::from(RemoteError { url: "v".to_owned(), range: None, attempts: 1, cause }))
        };
        let told = |errors: &[VolumeError]| {
            let mut failures = ProbeFailures::default();
            errors.iter().for_each(|error| failures.add(error));
            failures.end(9).map_err(|error| error.to_string())
        };
        let (silent, missing) = (remote(Cause::timeout(5)), remote(Cause::NotFound));
        let unsuitable = VolumeError::Unsuitable("RGB".to_owned());
        assert_eq!(told(&[]), Ok(()));
        assert_eq!(told(std::slice::from_ref(&silent)), Err("1 of 9 sources did not answer".to_owned()));
        assert_eq!(told(&[unsuitable.clone(), missing.clone()]), Err("2 of 9 sources cannot be shown".to_owned()));
        let both = "1 of 9 sources did not answer, 2 of 9 sources cannot be shown";
        assert_eq!(told(&[unsuitable, silent, missing]), Err(both.to_owned()));
    }
}
