//! The ways to add a credential: logins, pastes and imports.

mod browser;
mod certified;
mod django;
mod import;
mod page;
mod paste;
mod providers;
