//! Several processes on one folder, and processes that are killed.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const FOLDER: &str = "EMFS_TEST_DISK_FOLDER";
const STEPS: &str = "EMFS_TEST_DISK_STEPS";
const SIZE: u64 = 4 << 20;
const SEGMENT: u64 = SIZE / 16;
const OBJECTS: u64 = 10;
const LENGTH: u64 = 4 << 20;
const THREADS: u64 = 4;

fn name(number: u64) -> String {
    format!("https://host{}/object/{number}", number % 2)
}

/// Starts this test again as a process of its own that only works on the store, and waits until it does.
fn start(folder: &Path, steps: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["disk::tests::processes::one_of_several_processes", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(STEPS, steps.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("at work") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the process ended");
    }
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    child
}

#[test]
fn one_of_several_processes() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let steps: u64 = std::env::var(STEPS).unwrap().parse().unwrap();
    let disk = Disk::open(Path::new(&folder), SIZE).unwrap();
    println!("\nat work");
    let threads = (0..THREADS).map(|_| {
        let disk = disk.clone();
        std::thread::spawn(move || work(&disk, steps))
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

fn work(disk: &Disk, steps: u64) {
    let mut random = StdRng::from_rng(&mut rand::rng());
    for _ in 0..steps {
        let object = name(random.random_range(0..OBJECTS));
        let start = random.random_range(0..LENGTH);
        let range = start..LENGTH.min(start + random.random_range(1..200_000));
        if read_and_check(disk, &object, "v", range.clone()) < range.end - range.start {
            keep(disk, &object, "v", range);
        }
        disk.set_metadata(&object, object.as_bytes().to_vec().into());
        assert!(metadata_or_none(disk, &object).is_none_or(|metadata| metadata == object.as_bytes()));
        match random.random_range(0..200) {
            0 => disk.forget(&object),
            1 => drop(disk.prune(SIZE / 2).unwrap()),
            2 => drop(disk.verify(&mut |_, _| {}).unwrap()),
            3..20 => disk.flush(),
            _ => {}
        }
    }
}

fn check_all(disk: &Disk) {
    for object in 0..OBJECTS {
        read_and_check(disk, &name(object), "v", 0..LENGTH);
        assert!(metadata_or_none(disk, &name(object)).is_none_or(|metadata| metadata == name(object).as_bytes()));
    }
}

fn bytes_and_files(folder: &Path) -> (u64, u64) {
    let entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    // A file may be gone in the meantime.
    let bytes = entries.iter().map(|entry| entry.metadata().map_or(0, |known| known.len())).sum();
    (bytes, entries.len() as u64)
}

#[test]
fn processes_killed_at_any_instant_leave_right_bytes_and_no_litter() {
    let folder = folder();
    let mut random = StdRng::from_rng(&mut rand::rng());
    for _ in 0..crate::test_cases(20).min(200) {
        let mut workers = [start(folder.path(), u64::MAX), start(folder.path(), u64::MAX)];
        std::thread::sleep(Duration::from_micros(random.random_range(0..250_000)));
        for worker in &mut workers {
            assert!(worker.try_wait().unwrap().is_none(), "a process ended by itself");
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
        let disk = Disk::open(folder.path(), SIZE).unwrap();
        keep(&disk, "after", "v", 0..100);
        disk.flush();
        assert_eq!(read_and_check(&disk, "after", "v", 0..100), 100);
        // Before anything is read, which would drop what is damaged.
        assert_eq!(disk.verify(&mut |_, _| {}).unwrap().damaged, 0);
        check_all(&disk);
        disk.forget("after");
        drop(disk);
        let (bytes, files) = bytes_and_files(folder.path());
        // The segments, those that two processes had begun, the index, the lock and the tag.
        assert!(bytes <= SIZE + SEGMENT && files <= 16 + 2 + 3, "{bytes} bytes in {files} files");
    }
}

#[test]
fn processes_that_share_a_folder_ten_times_too_small_read_right_bytes_within_the_bound() {
    let folder = folder();
    let steps = u64::from(crate::test_cases(100).min(400));
    let mut workers = [start(folder.path(), steps), start(folder.path(), steps)];
    let mut most = (0, 0);
    while workers.iter_mut().any(|worker| worker.try_wait().unwrap().is_none()) {
        let now = bytes_and_files(folder.path());
        most = (now.0.max(most.0), now.1.max(most.1));
        std::thread::sleep(Duration::from_millis(5));
    }
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    assert!(most.0 <= SIZE + SEGMENT && most.1 <= 16 + 2 + 4, "{} bytes, {} files at most", most.0, most.1);
    check_all(&Disk::open(folder.path(), SIZE).unwrap());
}
