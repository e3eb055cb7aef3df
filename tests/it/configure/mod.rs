//! `models auth configure`: settings of other programs.

mod codex;
mod openclaw;
