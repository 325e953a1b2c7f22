//! What an operator asks for: sums, a check of everything, less.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{
    folder,
    index::{Index, is_damage},
    kinds::{Access, DiskError, HostSum, Pruned, Stat, Verified},
    room,
    store::Store,
    table,
};

/// Records looked up at a time.
const PAGE: u32 = 1000;

/// What is before the path in a name.
fn host(name: &str) -> &str {
    let start = name.find("://").map_or(0, |at| at + 3);
    let end = name[start..].find('/').map_or(name.len(), |at| start + at);
    &name[..end]
}

pub fn stat(store: &Store) -> Result<Stat, DiskError> {
    let (bytes, files) = folder::files(&store.folder)?;
    let mut stat = Stat {
        access: store.access,
        bytes,
        bound: store.bound,
        files,
        segments: 0,
        objects: 0,
        extents: 0,
        oldest: None,
        newest: None,
        hosts: Vec::new(),
    };
    let Some(index) = store.index() else { return Ok(stat) };
    let sums = index.read(table::sums).map_err(|reason| folder::index_error(index.path(), reason))?;
    let time = |millis: i64| SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let mut hosts: BTreeMap<String, HostSum> = BTreeMap::new();
    for (name, extents, bytes) in sums.objects {
        stat.objects += 1;
        stat.extents += extents;
        let host = host(&name).to_owned();
        let sum = hosts.entry(host.clone()).or_insert(HostSum { host, objects: 0, bytes: 0 });
        sum.objects += 1;
        sum.bytes = sum.bytes.saturating_add(bytes);
    }
    stat.segments = sums.segments;
    stat.oldest = sums.oldest.map(time);
    stat.newest = sums.newest.map(time);
    stat.hosts = hosts.into_values().collect();
    stat.hosts.sort_by_key(|host| std::cmp::Reverse(host.bytes));
    Ok(stat)
}

fn index(store: &Store) -> Result<std::sync::Arc<Index>, DiskError> {
    store.reopen()?;
    store.index().ok_or_else(|| DiskError::ReadOnly(store.folder.clone()))
}

/// An index in which SQLite finds anything wrong is made anew.
fn check_index(store: &Store) -> Result<(), DiskError> {
    let checked = index(store)?;
    match checked.write(table::check) {
        Ok(true) => return Ok(()),
        Err(reason) if !is_damage(&reason) => return Err(folder::index_error(checked.path(), reason)),
        Ok(false) | Err(_) => {}
    }
    store.retire(&checked)?;
    let made = index(store)?;
    room::sweep(store, &made).map_err(|reason| folder::index_error(made.path(), reason))
}

pub fn verify(store: &Store, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, DiskError> {
    if store.access == Access::ReadWrite {
        check_index(store)?;
    }
    let Some(index) = store.index() else { return Ok(Verified::default()) };
    let failed = |reason| folder::index_error(index.path(), reason);
    let total = index.read(table::payload_bytes).map_err(failed)?;
    let mut verified = Verified::default();
    let mut after = (i64::MIN, i64::MIN);
    progress(0, total);
    loop {
        let rows = index.read(|connection| table::rows_after(connection, after.0, after.1, PAGE)).map_err(failed)?;
        let Some(last) = rows.last() else { break };
        after = (last.segment, i64::try_from(last.offset).unwrap_or(i64::MAX));
        let mut damaged = Vec::new();
        for row in rows {
            verified.extents += 1;
            verified.bytes += row.length as u64;
            if !store.is_sound(&row) {
                damaged.push(row);
            }
            progress(verified.bytes, total.max(verified.bytes));
        }
        verified.damaged += damaged.len() as u64;
        verified.damaged_bytes += damaged.iter().map(|row| row.length as u64).sum::<u64>();
        if store.access == Access::ReadWrite && !damaged.is_empty() {
            let dropped =
                index.write(|transaction| damaged.iter().try_for_each(|row| table::drop_row(transaction, row)));
            dropped.map_err(failed)?;
        }
    }
    Ok(verified)
}

pub fn prune(store: &Store, size: u64) -> Result<Pruned, DiskError> {
    if store.access == Access::ReadOnly {
        return Err(DiskError::ReadOnly(store.folder.clone()));
    }
    let index = index(store)?;
    let failed = |reason| folder::index_error(index.path(), reason);
    room::sweep(store, &index).map_err(failed)?;
    let pruned = index
        .write(|transaction| {
            for (segment, used) in store.take_uses() {
                table::touch(transaction, segment, used)?;
            }
            room::evict(store, &index, transaction, size)
        })
        .map_err(failed)??;
    index.shrink().map_err(failed)?;
    Ok(pruned)
}
