//! The ways to add a credential: logins, pastes and imports.

mod browser;
mod certified;
mod destination;
mod django;
mod import;
mod openclaw;
mod page;
mod paste;
mod providers;
