//! Volumes that are elsewhere, or whose chunks are called otherwise, than their `info` says at first sight.

use super::*;

fn at(folder: &Path) -> Location {
    Location::parse(folder.to_str().unwrap(), None).unwrap()
}

async fn refusal(folder: &Path) -> String {
    let (remote, folder) = (remote(), at(folder));
    healed(|| open(&remote, &folder, None)).await.err().unwrap().to_string()
}

/// The bytes of chunk 1 along x, where it is there.
async fn chunk(source: &PrecomputedSource) -> Option<Bytes> {
    match source.locate(LevelIndex(0), CellIndex([0, 0, 1])).await.unwrap() {
        Placement::Whole { object, limit, witness } => {
            object.whole_if_there(limit, &witness).await.unwrap().map(|fetched| fetched.bytes)
        }
        Placement::Packed { object, compression, witness, .. } => {
            let packed = object.whole_if_there(1000, &witness).await.unwrap().unwrap().bytes;
            Some(compression.undo(&packed, 1000).unwrap().into())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_volume_that_has_moved_is_read_where_it_has_moved_to() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    write(&here("third"), &info(Value::Null), &[("12-14_-20--18_30-32", &CHUNK)]);
    // Other keys may be there or not.
    let mut second = info(Value::Null);
    second["redirect"] = json!("../third/");
    write(&here("second"), &second, &[]);
    let first = json!({ "redirect": format!("precomputed://file://{}", here("second").display()) });
    write(&here("first"), &first, &[]);
    for name in ["first", "second", "third"] {
        let source = opened(&here(name)).await;
        assert_eq!(chunk(&source).await, Some(Bytes::from_static(&CHUNK)), "{name}");
        assert!(source.folder().to_string().trim_end_matches('/').ends_with("/third"), "{}", source.folder());
        assert_eq!(source.documents()[0].value(), info(Value::Null));
    }
}

#[tokio::test]
async fn a_volume_that_moves_in_a_circle_or_on_and_on_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    write(&here("a"), &json!({ "redirect": "../b" }), &[]);
    write(&here("b"), &json!({ "redirect": "../a" }), &[]);
    for number in 0..20 {
        write(&here(&number.to_string()), &json!({ "redirect": format!("../{}", number + 1) }), &[]);
    }
    write(&here("20"), &info(Value::Null), &[]);
    for name in ["a", "0"] {
        let told = refusal(&here(name)).await;
        assert!(told.contains("redirect: ") && told.contains("write the address at which it is by `url`"), "{told}");
    }
    assert!(open(&remote(), &at(&here("11")), None).await.is_ok());
    // Where it has moved to is named where there is nothing.
    write(&here("c"), &json!({ "redirect": "../none" }), &[]);
    assert!(refusal(&here("c")).await.contains("/none/info"));
}

#[tokio::test]
async fn chunks_in_folders_of_their_positions_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, path) in [("plain", "s/12-14/-20--18/30-32"), ("gz", "s/12-14/-20--18/30-32.gz")] {
        let here = folder.path().join(name);
        write(&here, &info(Value::Null), &[]);
        std::fs::create_dir_all(here.join(path).parent().unwrap()).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &CHUNK).unwrap();
        let bytes = if name == "gz" { encoder.finish().unwrap() } else { CHUNK.to_vec() };
        std::fs::write(here.join(path), bytes).unwrap();
        assert_eq!(chunk(&opened(&here).await).await, Some(Bytes::from_static(&CHUNK)), "{name}");
    }
}

#[tokio::test]
async fn a_scale_of_which_no_chunk_is_called_by_its_info_is_left_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    // Without its offset all chunks would be called otherwise.
    let mut wrong = info(Value::Null);
    wrong["scales"][0].as_object_mut().unwrap().remove("voxel_offset");
    write(folder.path(), &wrong, &[("12-14_-20--18_30-32", &CHUNK)]);
    let told = refusal(folder.path()).await;
    assert!(
        told.contains("/s: chunks: `12-14_-20--18_30-32` is there, and no name that is one of the scale"),
        "{told}"
    );
    assert!(told.contains("as 0-2_0-2_0-2 is") && told.contains("`voxel_offset`"), "{told}");
    // Another scale is shown.
    let mut two = info(Value::Null);
    let mut second = two["scales"][0].clone();
    (second["key"], second["size"], second["resolution"]) = (json!("t"), json!([4, 2, 2]), json!([8, 4, 4]));
    two["scales"].as_array_mut().unwrap().push(second);
    write(folder.path(), &two, &[]);
    std::fs::create_dir(folder.path().join("t")).unwrap();
    std::fs::write(folder.path().join("t/0.shard"), b"x").unwrap();
    let (remote, at) = (remote(), at(folder.path()));
    let source = healed(|| open(&remote, &at, None)).await.unwrap();
    assert_eq!(source.description().levels.len(), 1);
    assert!(source.description().format.left_out[0].starts_with("level `t` ("), "{:?}", source.description().format);
    assert_eq!(chunk(&source).await, Some(Bytes::from_static(&CHUNK)));
}

#[tokio::test]
async fn the_info_of_a_pychunkedgraph_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = info(Value::Null);
    graph["graph"] = json!({ "chunk_size": [256, 256, 512], "n_layers": 12 });
    graph["data_dir"] = json!("gs://bucket/ws");
    write(folder.path(), &graph, &[]);
    let told = refusal(folder.path()).await;
    assert!(
        told.contains("graph: `graphene://`, a segmentation that a PyChunkedGraph server computes, is not"),
        "{told}"
    );
}
