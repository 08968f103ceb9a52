//! Ctrl-C, for commands that end in good order instead of at once.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Listens for Ctrl-C from its making on.
pub(crate) struct Interrupt {
    signal: Pin<Box<dyn Future<Output = ()> + Send>>,
    heard: bool,
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl Interrupt {
    pub(crate) async fn listen() -> Self {
        let mut signal: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
            if tokio::signal::ctrl_c().await.is_err() {
                // It cannot be listened to: it ends the process, as ever.
                pending().await
            }
        });
        // Asking once is what begins to listen.
        let heard = poll_fn(|context| Poll::Ready(signal.as_mut().poll(context).is_ready())).await;
        Self { signal, heard }
    }

    /// Ends when it was pressed. May be given up and asked again.
    pub(crate) async fn heard(&mut self) {
        if !self.heard {
            self.signal.as_mut().await;
            self.heard = true;
        }
    }
}
