//! What was fetched, kept within a bound of bytes, and work that is done once however many ask for it.

mod desk;
mod failures;
mod memory_budget;
mod shares;
mod single_flight;

pub use desk::{Desk, Reservation};
pub use failures::{FAILURE_REMEMBERED, RecentFailure, RecentFailures};
pub use memory_budget::{Held, MemoryBudget};
pub use shares::{FetchPlace, FetchReservation, PoolShare, Shares};
pub use single_flight::{Joined, Leader, SingleFlight};

#[cfg(test)]
mod tests;
