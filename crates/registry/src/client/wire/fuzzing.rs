//! A body is read past hyper. Whatever a server says, hyper must have read the same.

use std::sync::Arc;

use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Home, Idle, Place, Response, WireError, converse, nothing};

/// What came of an answer: its body, and what was left on the connection if that was kept.
struct Heard {
    body: Option<Vec<u8>>,
    left: Option<Vec<u8>>,
}

/// `data`: where it is cut on its way, and the answer.
pub(crate) fn body(data: &[u8]) {
    let Some((cut, answer)) = data.split_first_chunk::<2>() else { return };
    let cut = usize::from(u16::from_le_bytes(*cut)).min(answer.len());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (direct, driven) = runtime
        .expect("it needs nothing")
        .block_on(async { (heard(answer, cut, false).await, heard(answer, cut, true).await) });
    let direct = direct.unwrap_or(Heard { body: None, left: None });
    let driven = driven.unwrap_or(Heard { body: None, left: None });
    assert_eq!(direct.body, driven.body);
    let body = direct.body.unwrap_or_default();
    for left in [direct.left, driven.left].into_iter().flatten() {
        let (read, unread) = answer.split_at(answer.len() - left.len());
        assert_eq!(unread, left);
        assert!(body.len() <= read.len());
    }
}

/// `is_driven`: as if the request had a body, so that hyper reads all of it.
async fn heard(answer: &[u8], cut: usize, is_driven: bool) -> Result<Heard, WireError> {
    let (near, mut far) = tokio::io::duplex(answer.len() + 1_024);
    let idle = Arc::new(Idle { kept: std::sync::Mutex::default(), max_kept: 1 });
    let place = Place { is_verified: true, origin: String::new() };
    let home = Home { idle: Arc::clone(&idle), place: place.clone() };
    let mut request = Request::new(nothing());
    *request.method_mut() = Method::GET;
    let server = async {
        let (first, rest) = answer.split_at(cut);
        // The other end may have heard enough and hung up.
        let _ = far.write_all(first).await;
        tokio::task::yield_now().await;
        let _ = far.write_all(rest).await;
        let _ = far.shutdown().await;
        far
    };
    let client = async {
        let mut response = Response::new(converse(Box::new(near), request).await?, home, is_driven);
        let (mut body, mut room) = (Vec::new(), [0; 1_000]);
        loop {
            match response.read(&mut room).await {
                Ok(0) => return Ok(Some(body)),
                Ok(count) => body.extend_from_slice(&room[..count]),
                Err(_) => return Ok(None),
            }
        }
    };
    let (_far, body) = tokio::join!(server, client);
    let kept = idle.kept.lock().expect("nobody panics with it").remove(&place);
    let mut left = None;
    if let Some((mut stream, _)) = kept.and_then(|mut kept| kept.pop()) {
        let read = stream.read_to_end(left.insert(Vec::new())).await;
        read.map_err(WireError::Io)?;
    }
    Ok(Heard { body: body?, left })
}
