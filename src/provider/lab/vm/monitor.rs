//! Orders for a running QEMU: its machine protocol (QMP) on a socket.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// How long QEMU may take to answer; it does at once unless the machine is overloaded.
const DEADLINE: Duration = Duration::from_secs(20);

/// Gives one order and returns what came back.
///
/// # Errors
///
/// What QEMU said, or why it did not answer: a fragment.
pub(super) async fn order(socket: &Path, name: &str, arguments: Value) -> Result<Value, String> {
    let talk = async {
        let stream = UnixStream::connect(socket).await?;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        // Its greeting; orders are taken after the answer to this one.
        lines.next_line().await?;
        let mut answer = Value::Null;
        for (name, arguments) in [("qmp_capabilities", json!({})), (name, arguments)] {
            let order = json!({ "execute": name, "arguments": arguments });
            write.write_all(format!("{order}\n").as_bytes()).await?;
            answer = loop {
                let Some(line) = lines.next_line().await? else {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                };
                let line: Value = serde_json::from_str(&line)?;
                // Events come in between.
                if line.get("return").is_some() || line.get("error").is_some() {
                    break line;
                }
            };
        }
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(DEADLINE, talk).await {
        Ok(Ok(mut answer)) => match answer["error"]["desc"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["return"].take()),
        },
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}
