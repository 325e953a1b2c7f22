//! What is in a folder that holds no image itself, and which address to write.

use futures::FutureExt;
use serde_json::Value;

use super::documents::{Documents, MAX_GROUP_DOCUMENT};
use super::json::{self, quoted};
use crate::kind::Kind;
use crate::remote::Location;
use crate::source::foreign;

/// Members of a group that are looked at and named.
const MAX_MEMBERS: usize = 16;

/// Names that arrays and images often have, where a folder cannot be listed.
const USUAL: [&str; 4] = ["0", "s0", "1", "s1"];

/// What the attributes of a group say of what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hint {
    /// What the group is.
    pub what: String,
    /// A path below it that leads to an image.
    pub path: String,
}

impl Hint {
    /// Reads the attributes of a group without an image, of which version 0.5 has its own in `ome`.
    pub fn of(attributes: &Value) -> Option<Self> {
        let root = attributes.get("ome").unwrap_or(attributes);
        let text = |pointer: &str| root.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let hint = |what: &str, path: String| Some(Hint { what: what.to_owned(), path });
        if root.get("bioformats2raw.layout").is_some() {
            return hint("it is the root that bioformats2raw writes, with an image in each folder", "0".to_owned());
        }
        if let Some(path) = text("/plate/wells/0/path") {
            return hint("it is a plate of wells, which hold the images", format!("{path}/0"));
        }
        if let Some(path) = text("/well/images/0/path") {
            return hint("it is a well of images", path);
        }
        let labels = root.get("labels")?.as_array()?;
        let names: Vec<&str> = labels.iter().filter_map(Value::as_str).collect();
        let first = (*names.first()?).to_owned();
        let listed: Vec<String> = names.iter().take(MAX_MEMBERS).map(|name| quoted(name)).collect();
        hint(&format!("it is a group of labels: {}", listed.join(", ")), first)
    }
}

/// A member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Image,
    Array,
    Group,
}

/// What is to be said of a group that holds no image. `consolidated`: the documents below it, by their paths, as it has them
/// itself.
pub(super) async fn of_group(
    documents: &impl Documents,
    group: &Location,
    hint: Option<Hint>,
    consolidated: Vec<(String, Value)>,
) -> String {
    if let Some(Hint { what, path }) = hint {
        return format!("{what}; write the address {}", group.join(&path));
    }
    let mut members = told(consolidated);
    if members.is_empty() {
        members = looked_for(documents, group).await;
    }
    for (wanted, are, write) in [
        (Member::Image, "the images in it are", "write"),
        (Member::Array, "the arrays in it are", "write"),
        (Member::Group, "the groups in it are", "look further down, and write"),
    ] {
        let mut names = members.iter().filter(|(_, member)| *member == wanted).map(|(name, _)| name).peekable();
        if let Some(first) = names.peek() {
            let address = group.join(first);
            let names: Vec<String> = names.take(MAX_MEMBERS).map(|name| quoted(name)).collect();
            return format!(
                "it is a group without an image; {are} {}: {write} the address {address}",
                names.join(", ")
            );
        }
    }
    "it is a group without an image, and no array was found in it".to_owned()
}

/// What is to be said of a folder that has no document of Zarr that could be an image.
pub(super) async fn of_folder(documents: &impl Documents, group: &Location) -> String {
    let is_there =
        |location: Location| async move { documents.get(&location, MAX_GROUP_DOCUMENT).await.is_ok() }.boxed();
    if is_there(group.join(".zgroup")).await {
        let consolidated = consolidated(documents, group).await;
        return of_group(documents, group, None, consolidated).await;
    }
    let nothing = "neither .zattrs nor zarr.json nor .zarray nor .zgroup is there";
    let seen = foreign::Seen { names: documents.names(group).await, front: documents.front(group).await };
    match foreign::advice(Kind::Zarr, group, is_there, seen).await {
        Some(remedy) => format!("{nothing}; {remedy}"),
        None => format!("{nothing}, nor anything else that emfs knows: is the address right?"),
    }
}

/// The documents in the `.zmetadata` of a group.
pub(super) async fn consolidated(documents: &impl Documents, group: &Location) -> Vec<(String, Value)> {
    let location = group.join(".zmetadata");
    let Ok(bytes) = documents.get(&location, MAX_GROUP_DOCUMENT).await else { return Vec::new() };
    documents.alone(|| match json::parse(&location.to_string(), &bytes) {
        Ok(value) => members(value.get("metadata")),
        Err(_) => Vec::new(),
    })
}

/// The members of an object.
pub(super) fn members(value: Option<&Value>) -> Vec<(String, Value)> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The members that consolidated documents tell of.
fn told(consolidated: Vec<(String, Value)>) -> Vec<(String, Member)> {
    let told = consolidated.into_iter().filter_map(|(path, document)| match path.rsplit_once('/') {
        Some((path, ".zarray")) => Some((path.to_owned(), Member::Array)),
        Some((path, ".zattrs")) => holds_image(&document).then(|| (path.to_owned(), Member::Image)),
        _ if document.get("node_type").and_then(Value::as_str) == Some("array") => Some((path, Member::Array)),
        _ => document.get("attributes").is_some_and(holds_image).then_some((path, Member::Image)),
    });
    told.collect()
}

fn holds_image(attributes: &Value) -> bool {
    attributes.get("ome").unwrap_or(attributes).get("multiscales").is_some()
}

/// The members that are found by looking for their documents.
async fn looked_for(documents: &impl Documents, group: &Location) -> Vec<(String, Member)> {
    let mut names = documents.names(group).await;
    if names.is_empty() {
        names = USUAL.map(str::to_owned).to_vec();
    }
    names.retain(|name| !name.starts_with('.') && name != "zarr.json");
    names.sort();
    let mut found = Vec::new();
    for name in names.into_iter().take(MAX_MEMBERS) {
        let documents_of = [
            (".zarray", Some(Member::Array)),
            ("zarr.json", None),
            (".zattrs", None),
            (".zgroup", Some(Member::Group)),
        ];
        for (document, kind) in documents_of {
            let location = group.join(&name).join(document);
            let Ok(bytes) = documents.get(&location, MAX_GROUP_DOCUMENT).await else { continue };
            let kind = kind.or_else(|| {
                let value = documents.alone(|| json::parse(&location.to_string(), &bytes)).ok()?;
                let node = value.get("node_type").and_then(Value::as_str);
                let is_image = holds_image(value.get("attributes").unwrap_or(&value));
                match node {
                    Some("array") => Some(Member::Array),
                    _ if is_image => Some(Member::Image),
                    node => node.map(|_| Member::Group),
                }
            });
            if let Some(kind) = kind {
                found.push((name, kind));
                break;
            }
        }
    }
    found
}
