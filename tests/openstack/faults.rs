//! A bad network in front of a service: it forwards, and fails as it is told to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to the next connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request with this method goes through, and its answer is lost.
    AnswerLost(&'static str),
    /// The request with this method is answered by a limiter in front, as with this text.
    Limited(&'static str, &'static str),
    /// The connection ends before anything is forwarded.
    Cut,
}

/// A forwarder to one service.
pub(crate) struct Faults {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    failures: Arc<Mutex<Vec<Failure>>>,
}

impl Faults {
    /// Forwards to `to`.
    pub(crate) fn before(to: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let failures = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&failures);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let failures = Arc::clone(&shared);
                // A thread's fault is a connection that ends, which is what this is for.
                std::thread::spawn(move || forward(stream, to, &failures));
            }
        });
        Self { address, failures }
    }

    /// Adds a failure. Each happens once, at the first request that it fits.
    pub(crate) fn fail(&self, failure: Failure) {
        self.failures.lock().unwrap().push(failure);
    }

    /// How many failures have not happened.
    pub(crate) fn left(&self) -> usize {
        self.failures.lock().unwrap().len()
    }
}

/// Takes the failure that fits a request, if there is one.
fn take(failures: &Mutex<Vec<Failure>>, request: &str) -> Option<Failure> {
    let mut failures = failures.lock().unwrap();
    let fits = |failure: &Failure| match failure {
        Failure::AnswerLost(method) | Failure::Limited(method, _) => request.starts_with(method),
        Failure::Cut => true,
    };
    let place = failures.iter().position(fits)?;
    Some(failures.remove(place))
}

/// One request of a connection, then it is closed, so that each request has a connection.
fn forward(mut client: TcpStream, to: &str, failures: &Mutex<Vec<Failure>>) {
    let Some(request) = request(&mut client) else {
        return;
    };
    let text = String::from_utf8_lossy(&request).into_owned();
    let failure = take(failures, &text);
    match failure {
        Some(Failure::Cut) => return,
        Some(Failure::Limited(_, answer)) => {
            client.write_all(answer.as_bytes()).ok();
            return;
        }
        _ => {}
    }
    let Ok(mut service) = TcpStream::connect(to) else {
        return;
    };
    service.set_read_timeout(Some(Duration::from_secs(90))).ok();
    if service.write_all(&request).is_err() {
        return;
    }
    let mut answer = Vec::new();
    service.read_to_end(&mut answer).ok();
    if failure.is_none() {
        client.write_all(&answer).ok();
    }
    client.shutdown(Shutdown::Both).ok();
}

/// A whole request, asking the service to close the connection behind it.
fn request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| {
                let length = line.strip_prefix("content-length:")?;
                length.trim().parse::<usize>().ok()
            });
            if bytes.len() >= head + 4 + length.unwrap_or(0) {
                let mut all = bytes[..head].to_vec();
                all.extend_from_slice(b"\r\nConnection: close");
                all.extend_from_slice(&bytes[head..]);
                return Some(all);
            }
        }
        match client.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
