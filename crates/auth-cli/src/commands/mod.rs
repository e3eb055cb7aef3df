//! One folder per feature, its arguments inside.

pub mod agents;
pub mod audit;
pub mod clients;
pub mod configure;
pub mod doctor;
pub mod login;
pub mod models;
pub mod onboard;
pub mod plugins;
pub mod profiles;
pub mod schema;
pub mod serve;
pub mod sessions;
pub mod settings;
pub mod sink;
pub mod status;
pub mod token;
