//! `models …`, but for its credentials.

use clap::{Args, Subcommand};

/// A model.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// `provider/model`, or an alias
    pub model: String,
}

/// How a list is printed.
#[derive(Args, Debug)]
pub struct ListingArgs {
    /// One a line, and nothing else
    #[arg(long)]
    pub plain: bool,
}

/// `models aliases …`
#[derive(Debug, Subcommand)]
pub enum AliasesCommand {
    /// The names there are
    List(ListingArgs),
    /// Give a model a name
    Add(AliasArgs),
    /// Take a name away
    Remove(AliasNameArgs),
}

/// `models aliases add`
#[derive(Args, Debug)]
pub struct AliasArgs {
    /// The name
    pub alias: String,
    /// `provider/model`
    pub model: String,
}

/// `models aliases remove`
#[derive(Args, Debug)]
pub struct AliasNameArgs {
    /// The name
    pub alias: String,
}

/// `models fallbacks …`
#[derive(Debug, Subcommand)]
pub enum FallbacksCommand {
    /// The models, in the order in which they are tried
    List(ListingArgs),
    /// Add a model at the end
    Add(ModelArgs),
    /// Take a model away
    Remove(ModelArgs),
    /// Take all away
    Clear,
}
