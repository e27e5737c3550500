//! Server-sent events, taken apart as their bytes arrive (WHATWG HTML, section 9.2).

/// The most bytes one event may have before its blank line.
pub(crate) const EVENT_BYTES_MAX: usize = 64 * 1_024;

/// One event, or a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its `id:`, if it has one.
    pub(crate) id: Option<String>,
    /// Its `event:`, empty if it has none.
    pub(crate) name: String,
    /// Its `data:` lines, joined by newlines.
    pub(crate) data: String,
}

/// An event that has no end, or bytes that are no text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// INVARIANT: holds at most one unfinished event, never more than [`EVENT_BYTES_MAX`] bytes.
    rest: Vec<u8>,
}

impl Parser {
    /// Adds `bytes` and appends every event that is now whole to `events`.
    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Unreadable> {
        self.rest.extend_from_slice(bytes);
        while let Some((end, next)) = blank_line(&self.rest) {
            let text = std::str::from_utf8(&self.rest[..end]).map_err(|_| Unreadable)?;
            events.push(event(text));
            self.rest.drain(..next);
        }
        if self.rest.len() > EVENT_BYTES_MAX { Err(Unreadable) } else { Ok(()) }
    }
}

/// Where the first event ends and where the next one begins.
fn blank_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|b| *b == b'\n') {
        let line = &bytes[start..start + length];
        let next = start + length + 1;
        if line.is_empty() || line == b"\r" {
            return Some((start, next));
        }
        start = next;
    }
    None
}

fn event(text: &str) -> Event {
    let mut event = Event::default();
    let mut data = Vec::new();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut event.name),
            "data" => data.push(value),
            // Comments, `retry` and fields of the future say nothing that is needed here.
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: Option<&str>, name: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_come_out_the_same_however_the_bytes_are_cut() {
        let text = ": hello\n\nid: 7\nevent: revocation\ndata: {\"a\":\ndata: 1}\n\nevent:heartbeat\r\nid:7\r\n\r\nid: 8";
        let expected = [
            of(None, "", ""),
            of(Some("7"), "revocation", "{\"a\":\n1}"),
            of(Some("7"), "heartbeat", ""),
        ];
        for step in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for chunk in text.as_bytes().chunks(step) {
                parser.push(chunk, &mut events).unwrap();
            }
            assert_eq!(events, expected, "in steps of {step}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut parser = Parser::default();
        let line = [b'x'; 1_024];
        let mut pushes =
            (0..=EVENT_BYTES_MAX / line.len()).map(|_| parser.push(&line, &mut Vec::new()));
        assert!(pushes.any(|pushed| pushed == Err(Unreadable)));
        assert_eq!(Parser::default().push(b"data: \xff\n\n", &mut Vec::new()), Err(Unreadable));
    }
}
