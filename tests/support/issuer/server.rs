//! The issuer's server: one thread per connection, one request per connection.

use super::ledger::{self, Outcome};
use super::{Exchange, Fault, Shared, State};
use crate::http::{self, Request, Response, find};
use crate::now_ms;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Serves until the issuer is dropped.
pub(super) fn spawn(listener: TcpListener, shared: Arc<Shared>) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.lock().stopping {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&shared);
            // A client that hangs up is ignored; the log says what was carried out.
            thread::spawn(move || drop(serve(&stream, &shared)));
        }
    });
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let path = peek_path(stream)?;
    let fault = take_fault(&mut shared.lock(), &path);
    if fault == Some(Fault::DropBeforeRead) {
        let number = note(shared, &path, None);
        settle(shared, number, "dropped-before-read");
        return Ok(());
    }
    if fault == Some(Fault::ResetAfterCommit) {
        return reset_after_commit(stream, shared, &path);
    }
    let Some(request) = http::read_request(stream)? else { return Ok(()) };
    if let Some(reply) = control(shared, &request) {
        return stream.write_all(&reply.to_bytes());
    }
    let number = note(shared, &path, Some(&request));
    match fault {
        None => {
            let (reply, outcome) = act(shared, number, &request);
            settle(shared, number, outcome);
            stream.write_all(&reply.to_bytes())
        }
        Some(Fault::Drip { every_ms }) => {
            let (reply, outcome) = act(shared, number, &request);
            settle(shared, number, outcome);
            for byte in reply.to_bytes() {
                thread::park_timeout(Duration::from_millis(every_ms));
                stream.write_all(&[byte])?;
            }
            Ok(())
        }
        Some(fault) => {
            let bytes = play(shared, number, &request, fault);
            stream.write_all(&bytes)
        }
    }
}

/// Closes the connection while the request is still unread in the kernel, which then sends a reset.
fn reset_after_commit(stream: &TcpStream, shared: &Shared, path: &str) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let length = stream.peek(&mut bytes)?;
        match http::read_request_from(&bytes[..length]) {
            Ok(Some(request)) => {
                let number = note(shared, path, Some(&request));
                let (_, outcome) = act(shared, number, &request);
                settle(shared, number, outcome);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            // The request is still incomplete.
            Err(_) => thread::yield_now(),
        }
    }
}

/// The bytes to send under a fault; empty means to hang up.
fn play(shared: &Shared, number: usize, request: &Request, fault: Fault) -> Vec<u8> {
    let mut outcome = "injected";
    let bytes = match fault {
        Fault::DropBeforeRead | Fault::DropAfterRead => {
            outcome = "dropped-after-read";
            Vec::new()
        }
        Fault::DropAfterCommit => {
            outcome = act(shared, number, request).1;
            Vec::new()
        }
        Fault::HalfBody => {
            let (reply, carried_out) = act(shared, number, request);
            outcome = carried_out;
            let mut bytes = reply.to_bytes();
            bytes.truncate(bytes.len() - reply.body.len() / 2);
            bytes
        }
        Fault::ResetAfterCommit | Fault::Drip { .. } => unreachable!("played elsewhere"),
        Fault::Blank => {
            outcome = act(shared, number, request).1;
            Response::new(200, "application/json", "").to_bytes()
        }
        Fault::Reshaped { shape } => {
            let (reply, carried_out) = act(shared, number, request);
            outcome = carried_out;
            shape.apply(reply).to_bytes()
        }
        Fault::Oversized { bytes } => {
            let body = format!("{{\"error\":\"{}\"}}", "x".repeat(bytes));
            Response::new(200, "application/json", body).to_bytes()
        }
        Fault::HoldRequest => {
            hold(shared, number, "held");
            let (reply, carried_out) = act(shared, number, request);
            outcome = carried_out;
            reply.to_bytes()
        }
        Fault::HoldAnswer => {
            let (reply, carried_out) = act(shared, number, request);
            hold(shared, number, "held");
            outcome = carried_out;
            reply.to_bytes()
        }
        Fault::Status { status, headers, body } => {
            let mut reply = Response::new(status, "application/json", body);
            reply.headers.extend(headers);
            reply.to_bytes()
        }
        Fault::Html => {
            Response::new(200, "text/html", "<html><body>Welcome to our hotel</body></html>")
                .to_bytes()
        }
        Fault::Redirect { to } => {
            let mut reply = Response::redirect(&to);
            reply.status = 307;
            reply.to_bytes()
        }
        Fault::Garbage => b"\x15\x03\x01\x00\x02\x02\x28".to_vec(),
    };
    settle(shared, number, outcome);
    bytes
}

fn hold(shared: &Shared, number: usize, outcome: &str) {
    let ticket = shared.lock().releases;
    settle(shared, number, outcome);
    shared.wait("a release", |state| state.releases > ticket);
}

/// Carries out a request of the protocol.
fn act(shared: &Shared, number: usize, request: &Request) -> Outcome {
    let state = &mut *shared.lock();
    state.log[number].decided = Some(Instant::now());
    let (issuer, policy) = (shared.url.as_str(), &state.policy);
    match (request.method.as_str(), request.path()) {
        (
            "GET",
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server",
        ) => (Response::json(200, &ledger::metadata(issuer, policy)), "success"),
        ("GET", "/authorize") => state.ledger.authorize(issuer, policy, &request.query()),
        ("POST", "/token") => state.ledger.token(issuer, policy, &request.fields(), now_ms()),
        ("POST", "/revoke") if policy.revocation => state.ledger.revoke(&request.fields()),
        ("GET", "/userinfo") => {
            state.ledger.userinfo(request.header("authorization").unwrap_or_default())
        }
        _ => (Response::new(404, "text/plain", "not found"), "not_found"),
    }
}

/// The control interface for tests in other processes.
fn control(shared: &Shared, request: &Request) -> Option<Response> {
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let reply = match request.path() {
        "/__counters" => shared.counters(),
        "/__log" => json!(shared.lock().log),
        "/__policy" => {
            let mut state = shared.lock();
            let mut policy = json!(state.policy);
            if let (Value::Object(policy), Value::Object(change)) = (&mut policy, body()) {
                policy.extend(change);
            }
            state.policy = serde_json::from_value(policy.clone()).ok()?;
            policy
        }
        "/__fault" => {
            let text = body();
            let path = text["path"].as_str().unwrap_or("/token").to_owned();
            shared.lock().faults.push_back((path, serde_json::from_value(text).ok()?));
            json!({})
        }
        "/__release" => {
            shared.release();
            json!({})
        }
        "/__grant" => {
            let tokens = shared.grant(body()["account"].as_str().unwrap_or("alice"));
            json!({"access": tokens.access, "refresh": tokens.refresh, "account": tokens.account})
        }
        _ => return None,
    };
    Some(Response::json(200, &reply))
}

/// The path of the next request, without taking it from the socket.
fn peek_path(stream: &TcpStream) -> io::Result<String> {
    let mut start = [0; 512];
    let length = stream.peek(&mut start)?;
    let line = String::from_utf8_lossy(&start[..length]);
    let target = line.split_whitespace().nth(1).unwrap_or_default();
    Ok(target.split('?').next().unwrap_or_default().to_owned())
}

fn take_fault(state: &mut State, path: &str) -> Option<Fault> {
    let at = state.faults.iter().position(|(of, _)| of == path)?;
    state.faults.remove(at).map(|(_, fault)| fault)
}

/// Logs a request before it is processed. Returns its number.
fn note(shared: &Shared, path: &str, request: Option<&Request>) -> usize {
    let fields = request.filter(|_| path == "/token").map(Request::fields).unwrap_or_default();
    let mut state = shared.lock();
    state.log.push(Exchange {
        path: path.to_owned(),
        grant: find(&fields, "grant_type").map(str::to_owned),
        refresh: find(&fields, "refresh_token").map(str::to_owned),
        outcome: "received".to_owned(),
        json: request.is_some_and(Request::is_json),
        at: now_ms(),
        decided: None,
    });
    shared.changed.notify_all();
    state.log.len() - 1
}

fn settle(shared: &Shared, number: usize, outcome: &str) {
    outcome.clone_into(&mut shared.lock().log[number].outcome);
    shared.changed.notify_all();
}
