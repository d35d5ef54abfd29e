//! What the operating system knows of this process, under the names that Prometheus's own clients use.

use std::fs;

use super::exposition::Exposition;
use super::families as f;

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, which is 100 on every Linux that Rust's standard library
/// and its dependencies here run on (proc_pid_stat(5)).
const TICKS: f64 = 100.0;

/// Read from `/proc`; what is not there, as on another system, is left out.
pub(super) fn render(text: &mut Exposition) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of_status = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    if let Some(kib) = of_status("VmRSS:") {
        text.single(&f::PROCESS_RESIDENT, kib * 1024);
    }
    if let Some(kib) = of_status("VmSize:") {
        text.single(&f::PROCESS_VIRTUAL, kib * 1024);
    }
    if let Some(threads) = of_status("Threads:") {
        text.single(&f::PROCESS_THREADS, threads);
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let times = Times::of(&stat);
    if let Some(times) = &times {
        text.single(&f::PROCESS_CPU, times.used as f64 / TICKS);
    }
    let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime "));
    if let (Some(times), Some(booted)) = (times, booted.and_then(|s| s.parse::<f64>().ok())) {
        text.single(&f::PROCESS_START, booted + times.started as f64 / TICKS);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The one that reads the folder is not counted.
        text.single(&f::PROCESS_FDS, open.count().saturating_sub(1));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = open_files(&limits) {
        text.single(&f::PROCESS_MAX_FDS, most);
    }
}

/// In clock ticks.
struct Times {
    /// On the processor, in the program and in the kernel.
    used: u64,
    /// Since the machine was started.
    started: u64,
}

impl Times {
    /// From `/proc/self/stat`. The second field is the program's name in brackets, and may contain anything.
    fn of(stat: &str) -> Option<Self> {
        let (_, behind) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        // Counted from field 3 of proc_pid_stat(5).
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            used: field(14)? + field(15)?,
            started: field(22)?,
        })
    }
}

/// The soft limit; none when there is no limit.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_disturb() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1000 0 2 0 150 25 0 0 20 0 9 0 123456 1 2 3";
        let times = Times::of(stat).unwrap();
        assert_eq!((times.used, times.started), (175, 123_456));
        assert!(Times::of("").is_none() && Times::of("7 (a) S 1").is_none());
    }

    #[test]
    fn the_soft_limit_is_read() {
        let limits =
            |value| format!("Limit   Soft   Hard   Units\nMax open files   {value}  9 files\n");
        assert_eq!(open_files(&limits("1024")), Some(1024));
        assert_eq!(open_files(&limits("unlimited")), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_them_all() {
        let mut text = Exposition::default();
        render(&mut text);
        let text = text.finish();
        let value = |family: &super::super::exposition::Family| {
            let line = text
                .lines()
                .find(|line| line.split(' ').next() == Some(family.name));
            let value = line.and_then(|line| line.split(' ').nth(1)).unwrap_or("");
            value
                .parse::<f64>()
                .unwrap_or_else(|_| panic!("{}: {text}", family.name))
        };
        assert!(value(&f::PROCESS_RESIDENT) > 1e6);
        assert!(value(&f::PROCESS_VIRTUAL) >= value(&f::PROCESS_RESIDENT));
        assert!(value(&f::PROCESS_THREADS) >= 1.0);
        assert!(value(&f::PROCESS_FDS) >= 3.0);
        assert!(value(&f::PROCESS_MAX_FDS) >= value(&f::PROCESS_FDS));
        assert!(value(&f::PROCESS_CPU) >= 0.0);
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - value(&f::PROCESS_START);
        assert!((-2.0..86_400.0).contains(&age), "{age} s old");
    }
}
