//! How much memory the machine has left.

use std::fs;

/// Bytes of memory that a program may still take without driving the machine, or the container it runs in, into swapping
/// or into killing it; `None` where the system does not tell.
pub fn available_memory() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let system = available(&read("/proc/meminfo")?)?;
    let limits = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat",
        ),
    ];
    let within = limits
        .iter()
        .filter_map(|(limit, used, stat)| room(&read(limit)?, &read(used)?, &read(stat).unwrap_or_default()));
    Some(within.fold(system, u64::min))
}

/// `MemAvailable` of Linux' `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What a control group leaves: its limit less what is in use, file pages that can be dropped not counted.
fn room(limit: &str, used: &str, stat: &str) -> Option<u64> {
    // "max" is no limit.
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let pages = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let pages = pages.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(pages)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_figure_is_read() {
        let text = "MemTotal:       24689764 kB\nMemFree:         1000000 kB\nMemAvailable:   16777216 kB\n";
        for (text, bytes) in [
            (text, Some(16 << 30)),
            ("MemTotal: 1 kB\n", None),
            ("MemAvailable: many kB\n", None),
            ("MemAvailable: 18446744073709551615 kB\n", None),
            ("", None),
        ] {
            assert_eq!(available(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_containers_limit_is_read() {
        for (limit, used, stat, bytes) in [
            ("max\n", "1000\n", "", None),
            ("5000\n", "1000\n", "", Some(4000)),
            ("5000\n", "3000\n", "anon 5\ninactive_file 500\n", Some(2500)),
            ("5000\n", "6000\n", "", Some(0)),
            ("5000\n", "100\n", "inactive_file 500\n", Some(5000)),
        ] {
            assert_eq!(room(limit, used, stat), bytes, "{limit:?} {used:?} {stat:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_some() {
        assert!(available_memory() > Some(1 << 20));
    }
}
