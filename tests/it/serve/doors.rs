//! The doors: who comes in where, what is in the way, and how it ends.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use e2e::http;
use e2e::upstream::Behaviour;
use serde_json::json;

use super::World;

/// What a socket answers to a request without any token.
fn at_socket(path: &std::path::Path, target: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let body = "{\"model\":\"m\"}";
    let text = format!(
        "POST {target} HTTP/1.1\r\nhost: sink\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn programs_of_the_user_need_no_token_at_the_socket_and_others_do_at_the_port() {
    let world = World::with_keys(&["key-one"]);
    let server = world.serve(&[]);
    let socket = world.sandbox.state().join("serve.sock");
    let answer = at_socket(&socket, "/acme/chat/completions");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("pong"), "{answer}");
    let refused = server.ask("not-a-token");
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("clawdbot clients add"), "{}", refused.text());
    assert_eq!(world.upstream.secrets(), ["key-one"]);
    assert_eq!(http::get(&server.url("/healthz")).unwrap().text(), "ok\n");
    server.stop().expect_code(0);
    assert!(!socket.exists());
}

#[test]
fn a_socket_for_one_client_has_its_rights_and_no_others() {
    let world = World::with_keys(&["key-one"]);
    world.client("box --provider acme");
    let path = world.sandbox.home().join("box.sock");
    let text = path.to_str().unwrap();
    let server = world.serve(&["--socket", text, "--client", "box"]);
    assert!(at_socket(&path, "/acme/chat/completions").starts_with("HTTP/1.1 200"));
    assert!(at_socket(&path, "/openai/chat/completions").starts_with("HTTP/1.1 403"));
    assert!(at_socket(&path, "/v1/status").starts_with("HTTP/1.1 403"));
    world.run("clients revoke box").expect_code(0);
    assert!(at_socket(&path, "/acme/chat/completions").starts_with("HTTP/1.1 401"));
    server.stop().expect_code(0);
    assert!(!path.exists());
    let unknown = world.sandbox.run(&["serve", "--socket", text, "--client", "nobody"]);
    assert!(unknown.expect_code(64).stderr.contains("clients add nobody"));
}

#[test]
fn what_is_in_the_way_is_named_and_a_leftover_socket_is_not() {
    let world = World::with_keys(&["key-one"]);
    let server = world.serve(&[]);
    let second = world.run("serve --listen 127.0.0.1:0").expect_code(5).stderr.clone();
    assert!(
        second.contains("another server") && second.contains(&format!("kill {}", server.id())),
        "{second}"
    );
    let port = server.address.port();
    server.kill();
    // Its socket is left over, and its lock is not.
    assert!(world.sandbox.state().join("serve.sock").exists());
    let holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taken =
        world.run(&format!("serve --listen 127.0.0.1:{port}")).expect_code(5).stderr.clone();
    assert!(taken.contains(&port.to_string()) && taken.contains("--listen"), "{taken}");
    drop(holder);
    let wide = world.run("serve --listen 0.0.0.0:0").expect_code(64).stderr.clone();
    assert!(wide.contains("--tls-listen"), "{wide}");
    let server = world.serve(&[]);
    let answer = at_socket(&world.sandbox.state().join("serve.sock"), "/acme/chat/completions");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop().expect_code(0);
    e2e::sandbox::write(&world.sandbox.state().join("serve.sock"), b"mine");
    let refused = world.run("serve --listen 127.0.0.1:0").expect_code(74).stderr.clone();
    assert!(refused.contains("mv "), "{refused}");
}

#[test]
fn a_server_that_is_told_to_end_finishes_its_answers_and_another_takes_its_place() {
    let world = World::with_keys(&["key-one"]);
    world.upstream.set("key-one", Behaviour::ServeSlowly);
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    let url = server.url("/acme/chat/completions");
    let asking = std::thread::spawn(move || {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = json!({"model": "m", "stream": true}).to_string();
        http::send("POST", &url, &headers, body.as_bytes()).unwrap()
    });
    world.upstream.wait_until_begun(1);
    server.terminate();
    // The doors are free while the answer still comes.
    let next = loop {
        let mut next = world.sandbox.start(&["serve", "--listen", "127.0.0.1:0"]);
        if next.next_line().is_some_and(|line| line.starts_with("listening")) {
            break next;
        }
    };
    world.upstream.release();
    let answer = asking.join().unwrap();
    assert!(answer.status == 200 && answer.text().ends_with("[DONE]\n\n"), "{}", answer.text());
    server.finish().expect_code(0);
    drop(next);
}

#[test]
fn a_second_signal_ends_at_once_and_loses_no_report() {
    let world = World::with_keys(&["key-one", "key-two"]);
    world.upstream.set("key-one", super::limited("400")).set("key-two", Behaviour::ServeSlowly);
    let token = world.client("tool --provider acme");
    let server = world.serve(&[]);
    let url = server.url("/acme/chat/completions");
    let asking = std::thread::spawn(move || {
        let bearer = format!("Bearer {token}");
        let body = json!({"model": "m", "stream": true}).to_string();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::send("POST", &url, &headers, body.as_bytes()).is_err()
    });
    world.upstream.wait_until_begun(1);
    server.terminate();
    world.upstream.wait_until_begun(1);
    while http::get(&server.url("/healthz")).is_ok() {}
    server.terminate();
    server.finish().expect_code(0);
    assert!(asking.join().unwrap(), "the answer came whole, although nobody let it go on");
    world.upstream.wait_until_left(1);
    assert!(world.cooldown("acme:key-one").is_some());
}
