//! Logs by defmt, where the feature is on.

/// Logs what the application has done.
macro_rules! info {
    ($($argument:expr),+) => {
        #[cfg(feature = "defmt")]
        defmt::info!($($argument),+);
    };
}

/// Logs what is not as it should be.
macro_rules! warning {
    ($($argument:expr),+) => {
        #[cfg(feature = "defmt")]
        defmt::warn!($($argument),+);
    };
}

pub(crate) use {info, warning};
