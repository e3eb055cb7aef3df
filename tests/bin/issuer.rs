//! The test issuer as a program: `issuer [PORT]`. Prints `READY <url>`, and serves until its
//! standard input ends.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a tool for tests")]

use std::io::Read;

fn main() {
    let port = std::env::args().nth(1).map_or(0, |text| text.parse().expect("a port number"));
    let issuer = e2e::issuer::Issuer::start_on(port).expect("a free loopback port");
    println!("READY {}", issuer.url());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
