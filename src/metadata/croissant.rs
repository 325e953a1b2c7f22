//! `croissant.json`: a dataset in the form in which machine learning describes its data
//! (<https://docs.mlcommons.org/croissant/docs/croissant-spec.html>, version 1.0).

use serde_json::{Map, Value, json};

use super::passport::{DescribedPart, Passport};

const VERSION: &str = "http://mlcommons.org/croissant/1.0";

/// Columns of the table of images: name, type, place in the record of an image, what it means.
const COLUMNS: [(&str, &str, &str, &str); 10] = [
    ("name", "sc:Text", "/name", "Name of the image or label image"),
    ("label_of", "sc:Text", "/label_of", "Image that the labels are of"),
    ("zarr", "sc:Text", "/zarr", "Its Zarr v2 store"),
    ("zarr_v3", "sc:Text", "/zarr_v3", "Its Zarr v3 store"),
    ("dtype", "sc:Text", "/dtype", "Type of a voxel"),
    ("shape", "sc:Text", "/shape", "Voxels along z, y, x"),
    ("voxel_size_z", "sc:Float", "/voxel_size/z", "Distance of voxels along z in nanometres"),
    ("voxel_size_y", "sc:Float", "/voxel_size/y", "Distance of voxels along y in nanometres"),
    ("voxel_size_x", "sc:Float", "/voxel_size/x", "Distance of voxels along x in nanometres"),
    ("membranes", "sc:Text", "/membranes", "Whether membranes are dark or bright"),
];

/// A dataset, by its record.
pub fn croissant(record: &Value) -> Value {
    let passport = Passport::of(record);
    let mut whole = head(passport.id(), &passport.description());
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            whole.insert(key.to_owned(), value);
        }
    };
    set("alternateName", Some(passport.title().into()));
    set("url", passport.study("landing_page").map(Value::from));
    set("license", passport.licence().map(Value::from));
    set("datePublished", Some(passport.published().into()));
    set("citeAs", passport.study("citation").map(Value::from));
    set("publisher", passport.study("publisher").map(|name| agent("sc:Organization", name)));
    let authors: Vec<Value> = passport.studies("authors").map(|name| agent("sc:Person", name)).collect();
    set("creator", (!authors.is_empty()).then(|| authors.into()));
    let same: Vec<String> = passport.studies("doi").map(|doi| format!("https://doi.org/{doi}")).collect();
    set("sameAs", (!same.is_empty()).then(|| same.into()));
    let stores = passport.stores();
    let distribution = stores.iter().map(|part| file_set("", part)).chain(passport.documents().map(document));
    set("distribution", Some(distribution.collect()));
    set("recordSet", Some(json!([images(&passport)])));
    whole.into()
}

/// All datasets of a mount, by their records.
pub fn croissant_of_all(records: &[Value]) -> Value {
    let passports: Vec<Passport<'_>> = records.iter().map(Passport::of).collect();
    let names: Vec<&str> = passports.iter().map(Passport::title).collect();
    let about = format!("Volumes of electron microscopy, shown by emfs as OME-Zarr: {}", names.join("; "));
    let mut whole = head("emfs", &about);
    let mut licences: Vec<&str> = passports.iter().filter_map(Passport::licence).collect();
    licences.sort_unstable();
    licences.dedup();
    if !licences.is_empty() {
        whole.insert("license".to_owned(), json!(licences));
    }
    if let Some(latest) = passports.iter().map(Passport::published).max() {
        whole.insert("datePublished".to_owned(), latest.into());
    }
    let stores = passports.iter().flat_map(|passport| {
        let folder = format!("{}/", passport.id());
        passport.stores().into_iter().map(move |part| file_set(&folder, &part)).collect::<Vec<_>>()
    });
    whole.insert("distribution".to_owned(), stores.collect());
    whole.into()
}

fn head(name: &str, description: &str) -> Map<String, Value> {
    let mut whole = Map::new();
    whole.insert("@context".to_owned(), context());
    whole.insert("@type".to_owned(), "sc:Dataset".into());
    whole.insert("conformsTo".to_owned(), VERSION.into());
    whole.insert("name".to_owned(), name.into());
    whole.insert("description".to_owned(), description.into());
    whole
}

fn agent(kind: &str, name: &str) -> Value {
    json!({"@type": kind, "name": name})
}

/// Many files of one kind, found by a pattern: a store's have no checksum before all of it was fetched.
fn file_set(folder: &str, part: &DescribedPart) -> Value {
    let path = format!("{folder}{}", part.path);
    let includes = if part.is_directory { format!("{path}/**") } else { path.clone() };
    json!({
        "@type": "cr:FileSet",
        "@id": path,
        "name": path,
        "description": part.about,
        "encodingFormat": part.media_type,
        "includes": includes,
    })
}

/// A document of the archive, as it is shown.
fn document(document: &Value) -> Value {
    let name = document["file"].as_str().unwrap_or_default();
    json!({
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": format!("What the archive or the file says of the data; from {}", document["url"].as_str().unwrap_or("a file")),
        "contentUrl": name,
        "encodingFormat": "application/json",
        "sha256": document["sha256"],
    })
}

/// The table of images, with its rows.
fn images(passport: &Passport<'_>) -> Value {
    let fields = COLUMNS.iter().map(|(name, kind, _, about)| {
        json!({"@type": "cr:Field", "@id": format!("images/{name}"), "name": format!("images/{name}"),
            "description": about, "dataType": kind})
    });
    let rows = passport.images().map(|image| {
        let cells = COLUMNS.iter().map(|(name, _, pointer, _)| {
            let value = image.pointer(pointer).cloned().unwrap_or_default();
            let value = match value {
                Value::Object(axes) => axes.values().map(Value::to_string).collect::<Vec<_>>().join("×").into(),
                value => value,
            };
            (format!("images/{name}"), value)
        });
        cells.collect::<Value>()
    });
    json!({
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "The images and label images of the dataset",
        "key": {"@id": "images/zarr"},
        "field": fields.collect::<Value>(),
        "data": rows.collect::<Value>(),
    })
}

/// The context that the specification demands.
fn context() -> Value {
    json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "citeAs": "cr:citeAs",
        "column": "cr:column",
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "equivalentProperty": "cr:equivalentProperty",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "extract": "cr:extract",
        "field": "cr:field",
        "fileProperty": "cr:fileProperty",
        "fileObject": "cr:fileObject",
        "fileSet": "cr:fileSet",
        "format": "cr:format",
        "includes": "cr:includes",
        "isLiveDataset": "cr:isLiveDataset",
        "jsonPath": "cr:jsonPath",
        "key": "cr:key",
        "md5": "cr:md5",
        "parentField": "cr:parentField",
        "path": "cr:path",
        "recordSet": "cr:recordSet",
        "references": "cr:references",
        "regex": "cr:regex",
        "repeated": "cr:repeated",
        "replace": "cr:replace",
        "samplingRate": "cr:samplingRate",
        "sc": "https://schema.org/",
        "separator": "cr:separator",
        "source": "cr:source",
        "subField": "cr:subField",
        "transform": "cr:transform",
    })
}
