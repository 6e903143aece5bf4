//! The command `narrows`, used as its users do: what it refuses, what it keeps, and that its bits stay.

mod analysis;
mod bench;
mod bits;
mod data;
mod disk;
mod ecg;
mod kill;
mod models;
mod options;
mod recipes;
mod report;
mod reports;
mod resume;
mod systems;
mod weights;
mod workplace;
