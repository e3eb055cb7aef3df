//! Settings of other programs.

mod codex;
mod openclaw;
