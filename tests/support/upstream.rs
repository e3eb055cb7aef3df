//! A model provider of our own: it speaks the three dialects that tools speak, fails on command, and
//! counts what it began to carry out, by credential.

use crate::http::{Request, read_request};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A running provider; it goes on until this process ends.
#[derive(Clone, Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

/// What is done with a request that has a certain credential.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// It is served.
    Serve,
    /// It is served, and nothing of the answer comes after its first event before the test
    /// [lets it go](Upstream::release).
    ServeSlowly,
    /// It is served, and the connection ends in the midst of the answer.
    Cut,
    /// The connection ends before any answer, after the work has begun.
    Vanish,
    /// It is refused with this status, these headers and this body, before any work.
    Refuse(u16, Vec<(&'static str, &'static str)>, Value),
    /// The answer begins well, and its first event is this error.
    FailInside(Value),
}

#[derive(Debug, Default)]
struct State {
    behaviours: HashMap<String, Behaviour>,
    serves_others: bool,
    seen: Vec<Seen>,
    is_released: bool,
    /// Clients that left before their answer was whole.
    left: usize,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method, target, headers, body.
    pub request: Request,
    /// The credential that it came with.
    pub secret: String,
    /// Whether work on it began.
    pub began: bool,
}

impl Upstream {
    /// Starts one that refuses whatever it does not know.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let upstream =
            Self { address: listener.local_addr().expect("an address"), state: Arc::default() };
        let ours = upstream.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ours = ours.clone();
                thread::spawn(move || ours.serve(&stream));
            }
        });
        upstream
    }

    /// The base of its API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is done with requests of a credential, from now on.
    pub fn set(&self, secret: &str, behaviour: Behaviour) -> &Self {
        self.state.0.lock().unwrap().behaviours.insert(secret.to_owned(), behaviour);
        self
    }

    /// Serves every credential of which nothing else is said.
    pub fn serve_others(&self) {
        self.state.0.lock().unwrap().serves_others = true;
    }

    /// Lets slow answers go on.
    pub fn release(&self) {
        self.state.0.lock().unwrap().is_released = true;
        self.state.1.notify_all();
    }

    /// All requests, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.0.lock().unwrap().seen.clone()
    }

    /// The credentials of all requests of that method, in the order in which they came.
    pub fn secrets(&self) -> Vec<String> {
        let posts = self.seen().into_iter().filter(|seen| seen.request.method == "POST");
        posts.map(|seen| seen.secret).collect()
    }

    /// How often work began.
    pub fn began(&self) -> usize {
        self.seen().iter().filter(|seen| seen.began).count()
    }

    /// Waits until so many clients have left before their answers were whole.
    #[track_caller]
    pub fn wait_until_left(&self, count: usize) {
        self.wait_until(|state| state.left >= count);
    }

    /// Waits until work has begun so often.
    #[track_caller]
    pub fn wait_until_begun(&self, count: usize) {
        self.wait_until(|state| state.seen.iter().filter(|seen| seen.began).count() >= count);
    }

    #[track_caller]
    fn wait_until(&self, is_so: impl Fn(&State) -> bool) {
        let state = self.state.0.lock().unwrap();
        let waited = self.state.1.wait_timeout_while(state, crate::TIMEOUT, |it| !is_so(it));
        assert!(!waited.unwrap().1.timed_out(), "it did not come to that");
    }

    fn serve(&self, stream: &TcpStream) {
        let _ = stream.set_nodelay(true);
        while let Ok(Some(request)) = read_request(stream) {
            if !self.answer(&request, stream) {
                return;
            }
        }
    }

    /// Answers a request. Whether the connection goes on.
    fn answer(&self, request: &Request, stream: &TcpStream) -> bool {
        let secret = secret(request);
        let (known, serves_others) = {
            let state = self.state.0.lock().unwrap();
            (state.behaviours.get(&secret).cloned(), state.serves_others)
        };
        let known = known.or(serves_others.then_some(Behaviour::Serve));
        let behaviour = known.unwrap_or_else(|| {
            let error = json!({"error": {"code": "invalid_api_key", "message": "no such key"}});
            Behaviour::Refuse(401, Vec::new(), error)
        });
        let began = !matches!(behaviour, Behaviour::Refuse(..));
        let seen = Seen { request: request.clone(), secret, began };
        self.state.0.lock().unwrap().seen.push(seen);
        self.state.1.notify_all();
        match behaviour {
            Behaviour::Refuse(status, headers, body) => {
                refuse(stream, status, &headers, &body.to_string())
            }
            Behaviour::Vanish => false,
            _ if request.method != "POST" => refuse(stream, 200, &[], &models().to_string()),
            Behaviour::FailInside(error) => {
                let _ = begin(stream, 200, "text/event-stream");
                let _ = chunk(stream, &event(request, &error));
                end(stream).is_ok()
            }
            _ => self.served(request, &behaviour, stream),
        }
    }

    fn served(&self, request: &Request, behaviour: &Behaviour, stream: &TcpStream) -> bool {
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        // What is compressed is Codex's, who always wants a stream.
        let is_stream = body.is_none_or(|body| body["stream"] == true);
        if !is_stream {
            return refuse(stream, 200, &[], &whole(request).to_string());
        }
        let events = events(request);
        let _ = begin(stream, 200, "text/event-stream");
        for (number, event) in events.iter().enumerate() {
            if chunk(stream, event).is_err() {
                self.somebody_left();
                return false;
            }
            match behaviour {
                Behaviour::Cut if number + 2 == events.len() => return false,
                Behaviour::ServeSlowly if number == 0 && !self.waited(stream) => return false,
                _ => {}
            }
        }
        // Whoever waited has read from the connection.
        end(stream).is_ok() && !matches!(behaviour, Behaviour::ServeSlowly)
    }

    /// Waits until the test lets it go. Whether the other end is still there.
    fn waited(&self, stream: &TcpStream) -> bool {
        let ours = self.clone();
        let mut other = stream.try_clone().expect("another handle");
        // A client that leaves ends the connection.
        thread::spawn(move || {
            if matches!(other.read(&mut [0]), Ok(0) | Err(_)) {
                ours.somebody_left();
            }
        });
        let state = self.state.0.lock().unwrap();
        let left = state.left;
        let waits = |state: &mut State| !state.is_released && state.left == left;
        let state = self.state.1.wait_timeout_while(state, crate::TIMEOUT, waits).unwrap().0;
        state.is_released
    }

    fn somebody_left(&self) {
        self.state.0.lock().unwrap().left += 1;
        self.state.1.notify_all();
    }
}

/// The credential of a request, wherever it is.
fn secret(request: &Request) -> String {
    let bearer = request.header("authorization").map(|text| text.trim_start_matches("Bearer "));
    let secret = bearer.or(request.header("x-api-key")).or(request.header("x-goog-api-key"));
    secret.unwrap_or_default().to_owned()
}

fn begin(mut stream: &TcpStream, status: u16, kind: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes())
}

fn chunk(mut stream: &TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}

fn end(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"0\r\n\r\n")
}

fn refuse(mut stream: &TcpStream, status: u16, headers: &[(&str, &str)], body: &str) -> bool {
    let more: String =
        headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_ok()
}

fn event(request: &Request, data: &Value) -> String {
    let name = data["type"].as_str().filter(|_| !request.path().ends_with("/chat/completions"));
    match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

fn models() -> Value {
    json!({"object": "list", "data": [], "models": []})
}

/// `pong`, in one piece.
fn whole(request: &Request) -> Value {
    if request.path().ends_with("/messages") {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "pong-1",
            "content": [{"type": "text", "text": "pong"}], "stop_reason": "end_turn",
            "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
        })
    } else if request.path().ends_with("/responses") {
        json!({
            "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
            "model": "pong-1", "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
            "output": [item()], "usage": usage(), "error": null,
        })
    } else {
        json!({
            "id": "c1", "object": "chat.completion", "created": 1, "model": "pong-1",
            "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "pong"}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        })
    }
}

fn item() -> Value {
    let content = json!([{"type": "output_text", "text": "pong", "annotations": []}]);
    json!({"type": "message", "role": "assistant", "id": "m1", "status": "completed", "content": content})
}

fn usage() -> Value {
    json!({"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2})
}

/// `pong`, event by event.
fn events(request: &Request) -> Vec<String> {
    let all = if request.path().ends_with("/messages") {
        let message = json!({"id": "msg_1", "type": "message", "role": "assistant",
            "model": "pong-1", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 0}});
        vec![
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0,
                "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": "pong"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "usage": {"output_tokens": 1},
                "delta": {"stop_reason": "end_turn", "stop_sequence": null}}),
            json!({"type": "message_stop"}),
        ]
    } else if request.path().ends_with("/responses") {
        let mut whole = whole(request);
        let done = json!({"type": "response.completed", "sequence_number": 3, "response": whole});
        whole["status"] = "in_progress".into();
        whole["output"] = json!([]);
        vec![
            json!({"type": "response.created", "sequence_number": 0, "response": whole}),
            json!({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "m1",
                "output_index": 0, "content_index": 0, "delta": "pong", "logprobs": []}),
            json!({"type": "response.output_item.done", "sequence_number": 2, "output_index": 0,
                "item": item()}),
            done,
        ]
    } else {
        let part = |delta: Value, end: Value| {
            json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "pong-1",
                "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
        };
        vec![
            part(json!({"role": "assistant", "content": "po"}), Value::Null),
            part(json!({"content": "ng"}), Value::Null),
            part(json!({}), "stop".into()),
        ]
    };
    let mut texts: Vec<String> = all.iter().map(|data| event(request, data)).collect();
    if request.path().ends_with("/chat/completions") {
        texts.push("data: [DONE]\n\n".to_owned());
    }
    texts
}
