//! What stands behind the `?` of an address.

use std::str::FromStr;

use super::failure::Failure;

/// The values of an address, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Query {
        Query(url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The value of that name; an empty one, as forms send them for what nobody filled in, is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The same query with another value of that name.
    pub fn with(&self, name: &str, value: String) -> Query {
        let mut values: Vec<_> = self.0.iter().filter(|(known, _)| known != name).cloned().collect();
        values.push((name.to_owned(), value));
        Query(values)
    }

    /// The same as a number.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| Failure::Request(format!("`{name}={text}` is no number that can be used")))
    }
}
