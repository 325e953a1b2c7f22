//! `ro-crate-metadata.json`: the directory of a dataset as a research object
//! (<https://www.researchobject.org/ro-crate/specification/1.1/>).

use serde_json::{Map, Value, json};

use super::passport::{DescribedPart, Passport, is_address};

const CONTEXT: &str = "https://w3id.org/ro/crate/1.1/context";
const VERSION: &str = "https://w3id.org/ro/crate/1.1";
const DESCRIPTOR: &str = "ro-crate-metadata.json";

/// The directory of a dataset, by its record.
pub fn ro_crate(record: &Value) -> Value {
    let passport = Passport::of(record);
    let mut crated = Crate::new(passport.title(), &passport.description(), &passport.published());
    if let Some(page) = passport.study("landing_page") {
        crated.set("url", page.into());
    }
    let dois: Vec<String> = passport.studies("doi").map(|doi| format!("https://doi.org/{doi}")).collect();
    if let Some(first) = dois.first() {
        crated.set("identifier", first.as_str().into());
        crated.set("sameAs", one_or_all(dois.iter().map(|doi| json!({"@id": doi})).collect()));
    }
    if let Some(citation) = passport.study("citation") {
        crated.set("creditText", citation.into());
    }
    let authors = passport
        .studies("authors")
        .zip(1..)
        .map(|(name, number)| crated.add(json!({"@id": format!("#author-{number}"), "@type": "Person", "name": name})));
    let authors: Vec<Value> = authors.collect();
    if !authors.is_empty() {
        crated.set("author", one_or_all(authors));
    }
    if let Some(name) = passport.study("publisher") {
        let publisher = crated.add(json!({"@id": "#publisher", "@type": "Organization", "name": name}));
        crated.set("publisher", publisher);
    }
    let licence = licence(&mut crated, &passport);
    crated.set("license", licence);
    for part in passport.stores() {
        crated.part(&part, Map::new());
    }
    let record = "The record: one set of fields for all archives, each value with the way it came";
    for (path, about) in
        [("metadata.json", record), ("croissant.json", "The same for machine learning (Croissant 1.0)")]
    {
        crated.part(&json_file(path, about), Map::new());
    }
    for document in passport.documents() {
        let path = document["file"].as_str().unwrap_or_default();
        let about = "What the archive or the file says of the data; private names are removed";
        let mut more = Map::new();
        more.insert("sha256".to_owned(), document["sha256"].clone());
        if let Some(origin) = document["url"].as_str().filter(|url| is_address(url)) {
            let origin = json!({"@id": origin, "@type": "CreativeWork", "name": format!("Where {path} was fetched")});
            more.insert("isBasedOn".to_owned(), crated.add(origin));
        }
        crated.part(&json_file(path, about), more);
    }
    crated.finish()
}

/// The mount, by the records of its datasets.
pub fn ro_crate_of_all(records: &[Value]) -> Value {
    let passports: Vec<Passport<'_>> = records.iter().map(Passport::of).collect();
    let published = passports.iter().map(Passport::published).max();
    let published = published.unwrap_or_else(|| Passport::of(&Value::Null).published());
    let about =
        "Volumes of electron microscopy of several archives, shown by emfs as OME-Zarr; each says its own licence.";
    let mut crated = Crate::new("emfs", about, &published);
    let various = json!({"@id": "#licence", "@type": "CreativeWork", "name": "The licence of each dataset",
        "description": "Each dataset has its own licence, which its directory states"});
    let various = crated.add(various);
    crated.set("license", various);
    for passport in &passports {
        let path = passport.id().to_owned();
        let about = passport.description();
        crated.part(&DescribedPart { path, is_directory: true, media_type: "application/vnd+zarr", about }, Map::new());
    }
    crated.part(&json_file("metadata.json", "The records of all datasets"), Map::new());
    crated.part(&json_file("metadata.schema.json", "The JSON Schema of a record"), Map::new());
    for (path, about) in [
        ("metadata.csv", "The records as a table, one row per image"),
        ("correspondence.csv", "Where each value of the records stands in the documents of its archive"),
    ] {
        let part = DescribedPart {
            path: path.to_owned(),
            is_directory: false,
            media_type: "text/csv",
            about: about.to_owned(),
        };
        crated.part(&part, Map::new());
    }
    crated.finish()
}

fn json_file(path: &str, about: &str) -> DescribedPart {
    DescribedPart {
        path: path.to_owned(),
        is_directory: false,
        media_type: "application/json",
        about: about.to_owned(),
    }
}

/// The licence as an entity: its text's address, or what is said of use.
fn licence(crated: &mut Crate, passport: &Passport<'_>) -> Value {
    let name = passport.study("licence").or_else(|| passport.study("licence_statement"));
    let name = name.unwrap_or("not stated: ask the authors before you use or pass on the data");
    let id = passport.study("licence_url").unwrap_or("#licence");
    crated.add(json!({"@id": id, "@type": "CreativeWork", "name": name, "description": name}))
}

/// A single value stands for itself.
fn one_or_all(mut values: Vec<Value>) -> Value {
    match values.len() {
        1 => values.remove(0),
        _ => values.into(),
    }
}

/// A crate in the making: its root and what that refers to.
struct Crate {
    root: Map<String, Value>,
    parts: Vec<Value>,
    others: Vec<Value>,
}

impl Crate {
    fn new(name: &str, description: &str, published: &str) -> Crate {
        let mut root = Map::new();
        for (key, value) in [
            ("@id", "./"),
            ("@type", "Dataset"),
            ("name", name),
            ("description", description),
            ("datePublished", published),
        ] {
            root.insert(key.to_owned(), value.into());
        }
        Crate { root, parts: Vec::new(), others: Vec::new() }
    }

    fn set(&mut self, key: &str, value: Value) {
        self.root.insert(key.to_owned(), value);
    }

    /// Adds an entity; gives a reference to it.
    fn add(&mut self, entity: Value) -> Value {
        let reference = json!({"@id": entity["@id"]});
        if !self.others.iter().any(|other| other["@id"] == entity["@id"]) {
            self.others.push(entity);
        }
        reference
    }

    /// Adds a file or directory that the root has, of which there is `more` to say.
    fn part(&mut self, part: &DescribedPart, more: Map<String, Value>) {
        let kind = if part.is_directory { "Dataset" } else { "File" };
        let id = format!("{}{}", part.path, if part.is_directory { "/" } else { "" });
        let mut entity = json!({"@id": id, "@type": kind, "name": part.path, "description": part.about,
            "encodingFormat": part.media_type});
        if let Some(entity) = entity.as_object_mut() {
            entity.extend(more);
        }
        self.parts.push(json!({"@id": id}));
        self.others.push(entity);
    }

    fn finish(self) -> Value {
        let Crate { mut root, parts, others } = self;
        root.insert("hasPart".to_owned(), one_or_all(parts));
        let descriptor =
            json!({"@id": DESCRIPTOR, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": VERSION}});
        let graph: Vec<Value> = [descriptor, root.into()].into_iter().chain(others).collect();
        json!({"@context": CONTEXT, "@graph": graph})
    }
}
