//! What an operator asks for: sums, a check of everything, less.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::{
    eviction, folder,
    index::{DiskIndex, is_damage, let_others},
    queries::{self, ExtentRow},
    store::DiskStore,
    types::{DiskError, FolderAccess, HostSum, Pruned, Stat, Verified},
};

/// Records looked up at a time.
const PAGE: u32 = 1000;

/// What is before the path in a name.
fn host(name: &str) -> &str {
    let start = name.find("://").map_or(0, |at| at + 3);
    let end = name[start..].find('/').map_or(name.len(), |at| start + at);
    &name[..end]
}

pub fn stat(store: &DiskStore) -> Result<Stat, DiskError> {
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
    if store.index().is_none() {
        return Ok(stat);
    }
    let sums = in_index(store, |index| index.read_patiently(queries::sums))?;
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

/// Does something with the index; one that turns out to be damaged is made anew before.
fn in_index<T>(store: &DiskStore, work: impl Fn(&DiskIndex) -> rusqlite::Result<T>) -> Result<T, DiskError> {
    let mut tries = 3;
    loop {
        let Some(index) = store.index() else {
            return Err(folder::no_index(&store.folder));
        };
        tries -= 1;
        match work(&index) {
            Ok(answer) => return Ok(answer),
            Err(reason) if store.access == FolderAccess::ReadWrite && is_damage(&reason) && tries > 0 => {
                store.retire(&index)?;
                if let Some(made) = store.index() {
                    eviction::sweep(store, &made).map_err(|reason| folder::index_error(made.path(), reason))?;
                }
            }
            Err(reason) => return Err(folder::index_error(index.path(), reason)),
        }
    }
}

pub fn verify(store: &DiskStore, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, DiskError> {
    if store.access == FolderAccess::ReadWrite {
        store.reopen()?;
        in_index(store, |index| {
            index.disconnect();
            let is_sound = index.write(queries::check)?;
            is_sound.then_some(()).ok_or_else(DiskIndex::foreign)
        })?;
    } else if store.index().is_none() {
        return Ok(Verified::default());
    }
    let total = in_index(store, |index| index.read_patiently(queries::payload_bytes))?;
    let mut verified = Verified::default();
    let mut after = (i64::MIN, i64::MIN);
    progress(0, total);
    loop {
        let rows =
            in_index(store, |index| index.read_patiently(|connection| queries::rows_after(connection, after, PAGE)))?;
        let Some(last) = rows.last() else { break };
        after = (last.segment, i64::try_from(last.offset).unwrap_or(i64::MAX));
        let mut unsound = Vec::new();
        for row in rows {
            verified.extents += 1;
            verified.bytes += row.length as u64;
            let unreadable = |reason| folder::io_error(&store.segments.path(row.segment), reason);
            if !store.is_sound(&row).map_err(unreadable)? {
                unsound.push(row);
            }
            progress(verified.bytes, total.max(verified.bytes));
        }
        let damaged = still_claimed(store, &unsound)?;
        verified.damaged += damaged.len() as u64;
        verified.damaged_bytes += damaged.iter().map(|row| row.length as u64).sum::<u64>();
    }
    Ok(verified)
}

/// Which of the records the index still claims, and drops: the others went with their segment while they were read.
fn still_claimed(store: &DiskStore, rows: &[ExtentRow]) -> Result<Vec<ExtentRow>, DiskError> {
    let those = |is_claimed: &dyn Fn(&ExtentRow) -> rusqlite::Result<bool>| {
        let claimed = rows.iter().filter_map(|row| is_claimed(row).map(|is| is.then_some(*row)).transpose());
        claimed.collect::<rusqlite::Result<Vec<_>>>()
    };
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    in_index(store, |index| match store.access {
        FolderAccess::ReadWrite => index.write(|transaction| those(&|row| queries::drop_row(transaction, row))),
        FolderAccess::ReadOnly => {
            let claimed = index.read_patiently(|connection| those(&|row| queries::has_row(connection, row)))?;
            // A file goes a moment before its rows do.
            Ok(claimed.into_iter().filter(|row| store.segments.path(row.segment).exists()).collect())
        }
    })
}

pub fn prune(store: &DiskStore, size: u64) -> Result<Pruned, DiskError> {
    if store.access == FolderAccess::ReadOnly {
        return Err(DiskError::ReadOnly(store.folder.clone()));
    }
    store.reopen()?;
    let uses = store.take_uses();
    in_index(store, |index| {
        eviction::sweep(store, index)?;
        index.write(|transaction| {
            uses.iter().try_for_each(|(segment, used)| queries::touch(transaction, *segment, *used).map(drop))
        })
    })?;
    let mut pruned = Pruned::default();
    loop {
        let began = Instant::now();
        let removed =
            in_index(store, |index| index.write(|transaction| eviction::evict_one(store, transaction, size)))??;
        let Some(bytes) = removed else { break };
        pruned.segments += 1;
        pruned.bytes += bytes;
        let_others(began);
    }
    pruned.in_use = in_index(store, |index| index.write(|transaction| eviction::beyond(transaction, size)))?;
    in_index(store, DiskIndex::shrink)?;
    Ok(pruned)
}
