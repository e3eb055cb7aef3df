//! Tests that concern every command.

mod audit;
mod canary;
mod config;
mod files;
mod goldens;
#[cfg(unix)]
mod hints;
mod injection;
mod javascript;
#[cfg(unix)]
mod locations;
mod mistakes;
#[cfg(unix)]
mod odd_files;
#[cfg(unix)]
mod pages;
mod shell;
#[cfg(unix)]
mod shells;
mod terminal;
mod tools;
mod truth;
mod written;
