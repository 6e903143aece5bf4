//! Reports: a run as one HTML file that needs nothing else, for the phone, the desktop and paper, light and dark.
//!
//! [`Figures`] are what there is to see; [`page`] draws them, and [`compare`] draws those of several runs side by side.
//! All arithmetic of the network is core's.

mod chart;
mod compare;
mod document;
mod figures;
mod page;
mod text;

pub use compare::compare;
pub use figures::{
    Codes, Costs, Detection, Figures, Filters, LayerCost, Point, Reconstruction, Run, Shown, Unit,
    View,
};
pub use page::page;
