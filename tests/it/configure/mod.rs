//! Settings of other programs.

mod codex;
