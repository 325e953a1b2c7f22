//! A file laid out as the sections of EMPIAR-11759: thumbnail at 4515, then pixels at 152855 or 593687, then 15195 bytes.

use super::*;
use crate::dtype::DataType;

const THUMBNAIL: u64 = 4515;
const WIDTH: u32 = 5496;
const HEIGHT: u32 = 5500;

/// Makes `filler` so long that the data of the tag at `path` begin at `offset`.
fn place(file: &mut File, filler: &[&str], path: &[&str], offset: u64) {
    *file.root.at(filler) = TagTree::Bytes(10, Vec::new());
    let (tags, _) = walk(&file.bytes(), 1 << 20).unwrap();
    let now = tags.get(path).unwrap().offset;
    assert!(now <= offset, "{path:?} is at {now} already, wanted at {offset}");
    *file.root.at(filler) = TagTree::Bytes(10, vec![0; (offset - now) as usize]);
}

/// A section with a thumbnail of so many bytes and the tags of the dump, where there is one.
pub(super) fn section(thumbnail: usize, dump: Option<&[(String, String)]>) -> File {
    let mut file = File {
        version: DmVersion::Dm3,
        big_endian: false,
        root: writer::slice(&[WIDTH, HEIGHT], 6, Vec::new(), thumbnail),
    };
    let pixels = vec![0x55; WIDTH as usize * HEIGHT as usize];
    if let Some(dump) = dump {
        file.root = TagTree::group([]);
        for (path, value) in dump {
            let (path, value) = dumped(path, value, &pixels);
            insert(&mut file.root, &path, value);
        }
    } else {
        *file.root.at(&["ImageList", "1", "ImageData", "Data"]) = TagTree::Bytes(10, pixels);
    }
    let filler = || ("Filler".to_owned(), TagTree::Bytes(10, Vec::new()));
    file.root.tags().insert(0, filler());
    file.root.tags().push(filler());
    let data = |image| ["ImageList", image, "ImageData", "Data"];
    place(&mut file, &["Filler"], &data("0"), THUMBNAIL);
    // With the tags of the dump the pixels come to their place by themselves.
    if dump.is_none() {
        file.root.at(&["ImageList", "1"]).tags().insert(0, filler());
        place(&mut file, &["ImageList", "1", "Filler"], &data("1"), THUMBNAIL + thumbnail as u64 + 884);
    }
    // The last tag of the root has the name of the first one, so it is found by its place.
    let tail = file.bytes().len() as u64 - (THUMBNAIL + thumbnail as u64 + 884) - 30_228_000;
    if let Some((_, filler)) = file.root.tags().last_mut() {
        *filler = TagTree::Bytes(10, vec![0; (15_195 - tail) as usize]);
    }
    file
}

/// A line of the dump as a tag: what is written of numbers and booleans tells their type.
fn dumped<'a>(path: &'a str, value: &str, pixels: &[u8]) -> (Vec<&'a str>, TagTree) {
    let mut path: Vec<&str> = path.trim_start_matches("root.").split('.').collect();
    if path.last() == Some(&"Size") {
        path.pop();
        let size = value.parse().unwrap();
        return (path, TagTree::Bytes(10, if size == pixels.len() { pixels.to_vec() } else { vec![1; size] }));
    }
    let tree = match value {
        "True" | "False" => TagTree::Bool(value == "True"),
        _ => match (value.parse::<u32>(), value.parse::<f64>()) {
            (Ok(number), _) => TagTree::U32(number),
            (_, Ok(number)) if f64::from(number as f32) == number => TagTree::F32(number as f32),
            (_, Ok(number)) => TagTree::F64(number),
            _ => TagTree::text(value),
        },
    };
    (path, tree)
}

/// Numbers are places in lists; members that are not in the dump were empty.
fn insert(tree: &mut TagTree, path: &[&str], value: TagTree) {
    let [name, rest @ ..] = path else {
        *tree = value;
        return;
    };
    let tags = tree.tags();
    let found = match name.parse::<usize>() {
        Ok(place) => {
            while tags.len() <= place {
                tags.push((String::new(), TagTree::group([])));
            }
            place
        }
        Err(_) => tags.iter().position(|(own, _)| own == name).unwrap_or_else(|| {
            tags.push(((*name).to_owned(), TagTree::group([])));
            tags.len() - 1
        }),
    };
    insert(&mut tags[found].1, rest, value);
}

#[test]
fn three_windows_find_the_pixels_of_a_section_wherever_they_are() {
    for (thumbnail, offset, total) in [(147_456, 152_855, 30_396_050), (588_288, 593_687, 30_836_882)] {
        let bytes = section(thumbnail, None).bytes();
        assert_eq!(bytes.len(), total);
        let (tags, windows) = walk(&bytes, 16 << 10).unwrap();
        assert_eq!(windows, 3);
        let image = DmImage::find(&tags).unwrap();
        assert_eq!((image.number, image.offset, image.length), (1, offset, 30_228_000));
        assert_eq!(image.shape, [5500, 5496]);
    }
}

#[test]
fn the_tags_of_a_real_section_are_read_field_by_field() {
    let Some(folder) = samples::folder() else { return };
    let dump = std::fs::read(folder.join("../empiar11759_tags_slice0000.json")).unwrap();
    let dump: serde_json::Value = serde_json::from_slice(&dump).unwrap();
    let dump: Vec<(String, String)> = dump["full_original_tags"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| !path.ends_with(".Offset") || path.contains("Hor") || path.contains("Rotation"))
        .map(|(path, value)| (path.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    assert!(dump.len() > 390, "{}", dump.len());
    let bytes = section(147_456, Some(&dump)).bytes();
    let (tags, windows) = walk(&bytes, 16 << 10).unwrap();
    assert_eq!(windows, 3);
    for (path, value) in &dump {
        let (names, _) = dumped(path, value, &[]);
        let data = tags.get(&names).unwrap_or_else(|| panic!("{path}"));
        let same = match value.as_str() {
            "True" | "False" => data.unsigned() == Some(u64::from(value == "True")),
            _ if path.ends_with(".Size") => data.length.to_string() == *value,
            _ => match (value.parse::<f64>(), data.number()) {
                (Ok(expected), Some(number)) => number == expected || number as f32 == expected as f32,
                _ => data.text().as_ref() == Some(value),
            },
        };
        assert!(same, "{path}: {data:?}, should be {value}");
    }
    let image = DmImage::find(&tags).unwrap();
    assert_eq!((image.number, image.offset, image.length), (1, 152_855, 30_228_000));
    assert_eq!((image.shape.as_slice(), image.pixel), ([5500, 5496].as_slice(), DataType::U8));
    assert_eq!(image.display, Some((65.0, 123.0)));
    assert_eq!(image.section.unwrap().nanometres(), Some((50.0, 0.0)));
    assert_eq!(image.calibrations[0].as_ref().unwrap().nanometres(), Some((7.99825, 0.0)));
}
