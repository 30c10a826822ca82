//! The two clocks: what time it is, and how long this machine has been up.

/// Microseconds since the epoch.
pub fn now_us() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0)
}

/// Microseconds since the boot, by the clock of systemd's monotonic stamps (clock_gettime(2), CLOCK_MONOTONIC).
pub fn up_us() -> u64 {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(up.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(up.tv_nsec).unwrap_or(0) / 1000
}
