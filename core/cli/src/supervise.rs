//! Work on a thread of its own, watched and ended from this one.

use std::time::Duration;

use fleetstorm_engine::{Control, RunError};
use tokio::sync::oneshot;

use crate::apart;
use crate::failure::Failure;
use crate::signals::{Signals, runtime};

/// Somebody who shows how far work is.
pub(crate) trait Watch {
    /// Says that it begins: from now on an interruption is heard.
    fn begin(&self);
    /// Shows the numbers of this moment; it is called often.
    fn look(&mut self, control: &Control);
    /// A remark between the numbers.
    fn note(&self, text: &str);
    /// Leaves everything where it is, and the terminal as it was.
    fn abandon(&mut self);
    /// Clears what is shown, or writes a last line.
    fn finish(self, control: &Control);
}

/// Does `work` on a thread of its own while this one shows progress and listens for Ctrl-C.
pub(crate) fn supervise<T: Send + 'static>(
    mut display: impl Watch,
    control: &Control,
    work: impl FnOnce(&Control) -> Result<T, RunError> + Send + 'static,
) -> Result<T, Failure> {
    let (done, mut finished) = oneshot::channel();
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    display.begin();
    let worker = {
        let control = control.clone();
        std::thread::Builder::new()
            .name("run".to_owned())
            .spawn(move || {
                let _ = done.send(work(&control));
            })
            .map_err(|error| Failure::internal(format!("a thread cannot be started: {error}")))?
    };

    let result = runtime.block_on(async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                result = &mut finished => return result,
                () = signals.next() => {
                    control.interrupt();
                    display.note("interrupted: writing what there is (once more to stop at once)");
                    // The first signal is a request; the second one is an order.
                    if let Some(result) = finish_or_insist(&mut finished, &mut signals).await {
                        return result;
                    }
                    display.abandon();
                    apart::over(130);
                    std::process::exit(130);
                }
                _ = tick.tick() => display.look(control),
            }
        }
    });
    display.finish(control);
    let crashed = || Failure::from(RunError::Driver("the run ended without a result".to_owned()));
    let done = result.map_err(|_| crashed())??;
    worker.join().map_err(|_| crashed())?;
    Ok(done)
}

/// The result, or `None` if the user insists before it comes.
async fn finish_or_insist<T>(
    finished: &mut oneshot::Receiver<T>,
    signals: &mut Signals,
) -> Option<Result<T, oneshot::error::RecvError>> {
    tokio::select! {
        biased;
        result = finished => Some(result),
        () = signals.next() => None,
    }
}
