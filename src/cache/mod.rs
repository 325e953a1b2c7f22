//! What was fetched, kept within a bound of bytes, and work that is done once however many ask for it.

mod desk;
mod flight;
mod pool;
mod shares;

pub use desk::{Desk, Kept, NoRoom};
pub use flight::{Boarding, Flights, Ticket, Worker};
pub use pool::{Held, Lease, Pool};
pub use shares::{Place, Room, Share, Shares};
