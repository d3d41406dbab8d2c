//! The output of a command. A reader who has seen enough (`| head`) is not a failure, while a
//! broken pipe anywhere else is: so the end of our own output has an error of its own.

use std::error::Error;
use std::io::{self, ErrorKind, Write};

/// The output of a command.
#[derive(Debug)]
pub struct Out<W>(W);

/// Nobody reads our output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct OutputClosed;

impl OutputClosed {
    /// Whether that is what an error says.
    pub fn is(error: &(dyn Error + 'static)) -> bool {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.is_some_and(<dyn Error + Send + Sync>::is::<Self>)
    }
}

impl<W> Out<W> {
    /// Writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self(writer)
    }
}

impl<W: Write> Out<W> {
    /// One JSON object on a line of its own.
    pub fn json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        writeln!(self, "{value}")
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told_apart)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told_apart)
    }
}

fn told_apart(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe {
        io::Error::new(ErrorKind::BrokenPipe, OutputClosed)
    } else {
        error
    }
}
