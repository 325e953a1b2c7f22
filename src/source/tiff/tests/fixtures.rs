//! Files of tools that are not ours, made by `tests/make_tiff_fixtures.py` into the folder `EMFS_TIFF_FIXTURES`.

use std::path::PathBuf;

use super::super::Reading;
use super::super::read::{ReadAhead, ReadAt};
use super::super::volume::Volume;
use super::support::{assemble, memory, open};

#[tokio::test]
async fn files_of_other_tools_read_as_those_tools_wrote_them() {
    let Ok(folder) = std::env::var("EMFS_TIFF_FIXTURES") else { return };
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    names.sort();
    let mut wrong = Vec::new();
    for name in &names {
        let facts: serde_json::Value = serde_json::from_slice(&std::fs::read(name).unwrap()).unwrap();
        let reader = memory(std::fs::read(name.with_extension("tif")).unwrap());
        let opened = open(reader.clone()).await;
        if let Some(word) = facts["refused"].as_str() {
            match opened {
                Ok(_) => wrong.push(format!("{name:?}: opened")),
                Err(error) if !error.to_string().contains(word) => wrong.push(format!("{name:?}: {error}")),
                Err(_) => {}
            }
            continue;
        }
        let volume = match opened {
            Ok(volume) => volume,
            Err(error) => {
                wrong.push(format!("{name:?}: {error}"));
                continue;
            }
        };
        let requests = reader.count();
        let level = &volume.description.levels[0];
        let shape: Vec<u64> = serde_json::from_value(facts["shape"].clone()).unwrap();
        let expected = std::fs::read(name.with_extension("raw")).unwrap();
        let near = facts["near"].as_u64().unwrap_or(0);
        let is_right = |voxels: &[u8]| {
            let differ = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)) > near;
            voxels.len() == expected.len() && !voxels.iter().zip(&expected).any(differ)
        };
        if level.grid.shape.0.as_slice() != shape || volume.description.dtype.name() != facts["dtype"] {
            wrong.push(format!("{name:?}: {} {}", level.grid.shape, volume.description.dtype));
            continue;
        }
        match assemble(&volume, &*reader).await {
            Ok(voxels) if is_right(&voxels) => {}
            Ok(_) => wrong.push(format!("{name:?}: other voxels")),
            Err(error) => wrong.push(format!("{name:?}: {error}")),
        }
        // Again with next to nothing known at first, as if the file were so large that each directory is far from another.
        let distant = memory(std::fs::read(name.with_extension("tif")).unwrap());
        let front = distant.read_at(0..16).await.unwrap();
        match Volume::open(ReadAhead::from(distant.clone(), front), Reading::default()).await {
            Ok(volume) if assemble(&volume, &*distant).await.is_ok_and(|voxels| is_right(&voxels)) => {}
            _ => wrong.push(format!("{name:?}: with a short front")),
        }
        if facts["requests"].as_u64().is_some_and(|limit| u64::from(requests) > limit) {
            wrong.push(format!("{name:?}: {requests} requests"));
        }
        if let Some(scale) = facts["scale"].as_array() {
            let near = |(a, b): (&serde_json::Value, f64)| (a.as_f64().unwrap() - b).abs() < 1e-6;
            if !level.scale.is_some_and(|found| scale.iter().zip(found).all(near)) {
                wrong.push(format!("{name:?}: scale {:?}", level.scale));
            }
        }
        let window: Option<(f64, f64)> = serde_json::from_value(facts["window"].clone()).unwrap();
        if window.is_some() && volume.description.window != window {
            wrong.push(format!("{name:?}: window {:?}", volume.description.window));
        }
    }
    eprintln!("{} files", names.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), names.len(), wrong.join("\n"));
}
