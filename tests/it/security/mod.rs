//! Attacks by another user of the machine, who is one: each of them worked once.

mod believed;
mod started;
