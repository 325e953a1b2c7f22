//! How much memory emfs may take where nobody says.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// The most that is taken unasked.
const MAX_DEFAULT: u64 = 1 << 30;

/// The least, where a limit cannot be found or is tiny.
const MIN_DEFAULT: u64 = 64 << 20;

/// The default of `--memory`: a quarter of what this process may have, at most 1 GiB.
pub fn default_limit() -> u64 {
    limit(Path::new("/"), getrlimit(Resource::As).current)
}

/// The same for a system whose files are below `root`, and a process that may have `addresses` (`ulimit -v`), in bytes.
fn limit(root: &Path, addresses: Option<u64>) -> u64 {
    let read = |path: PathBuf| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let groups = read("proc/self/cgroup".into());
    let unified = group(&groups, |controllers| controllers.is_empty())
        .into_iter()
        .flat_map(|group| ancestors(group).map(|path| Path::new("sys/fs/cgroup").join(path).join("memory.max")));
    let legacy = group(&groups, |controllers| controllers.split(',').any(|name| name == "memory"))
        .into_iter()
        .flat_map(|group| {
            ancestors(group).map(|path| Path::new("sys/fs/cgroup/memory").join(path).join("memory.limit_in_bytes"))
        });
    let limits = unified.chain(legacy).filter_map(|path| read(path).trim().parse::<u64>().ok());
    // The legacy limit is a huge number where there is none, which the size of the machine then bounds.
    let available = limits.chain(machine(&read("proc/meminfo".into()))).chain(addresses).min();
    available.map_or(MIN_DEFAULT, |bytes| (bytes / 4).clamp(MIN_DEFAULT, MAX_DEFAULT))
}

/// The path of this process in the hierarchy whose controllers are `wanted` (cgroups(7)).
fn group(groups: &str, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        wanted(controllers).then(|| path.trim_start_matches('/'))
    })
}

/// A group and those it is in, up to the root of the hierarchy: the limit of each holds.
fn ancestors(group: &str) -> impl Iterator<Item = &Path> {
    Path::new(group).ancestors()
}

fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        limit(root.path(), None)
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       24659968 kB\nMemFree: 1 kB\n");

    #[test]
    fn a_large_machine_gives_a_gibibyte() {
        assert_eq!(system(&[MACHINE]), 1 << 30);
        assert_eq!(system(&[("proc/meminfo", "MemTotal: 2097152 kB\n")]), 512 << 20);
    }

    #[test]
    fn the_limit_of_a_group_counts() {
        let max = "sys/fs/cgroup/job/step/memory.max";
        let group = ("proc/self/cgroup", "0::/job/step\n");
        assert_eq!(system(&[MACHINE, group, (max, "1073741824\n")]), 256 << 20);
        assert_eq!(system(&[MACHINE, group, (max, "max\n")]), 1 << 30);
    }

    #[test]
    fn the_limit_of_an_outer_group_counts_too() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/step/memory.max", "max\n"),
            ("sys/fs/cgroup/job/memory.max", "536870912\n"),
        ];
        assert_eq!(system(&files), 128 << 20);
    }

    #[test]
    fn the_legacy_hierarchy_counts() {
        let group = ("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/docker/abc\n1:name=systemd:/\n");
        let path = "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes";
        assert_eq!(system(&[MACHINE, group, (path, "2147483648\n")]), 512 << 20);
        assert_eq!(system(&[MACHINE, group, (path, "9223372036854771712\n")]), 1 << 30);
    }

    #[test]
    fn the_limit_of_addresses_counts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(limit(root.path(), Some(2 << 30)), 512 << 20);
        assert_eq!(limit(root.path(), Some(1 << 20)), MIN_DEFAULT);
    }

    #[test]
    fn without_any_figure_little_is_taken() {
        assert_eq!(system(&[]), MIN_DEFAULT);
        assert_eq!(system(&[("proc/meminfo", "MemTotal: a lot\n")]), MIN_DEFAULT);
    }
}
