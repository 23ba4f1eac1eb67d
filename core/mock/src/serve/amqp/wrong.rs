//! What the door does wrongly, because a fault of the protocol strikes its client.

use fleetstorm_model::chaos::{AmqpAwaited, CorrelationForm, DoorStep, FaultKind, ReleaseForm};
use fleetstorm_protocol::amqp::{Greeting, Misanswer, RetryAfterKeys, frame, strange_correlation_id};
use fleetstorm_protocol::{Operation, RetryAfter};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answer, Talk};
use crate::serve::damage;

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    /// The fault that strikes this client now, if one does.
    pub(super) fn struck(&self, operation: Option<Operation>, step: DoorStep) -> Option<FaultKind> {
        let linked = self.server.guest().map(|guest| &*guest.registration_id);
        let name = linked.or(self.wrong.name.as_deref())?;
        self.house.fault(name, operation, step)
    }

    /// Says `out`, which the connection has come to; `None` ends it.
    pub(super) fn greeted(&mut self, greeting: Greeting, out: &[u8]) -> Option<()> {
        let step = match greeting {
            Greeting::Sasl => DoorStep::AmqpSasl,
            Greeting::Open => DoorStep::AmqpOpen,
            Greeting::Begin => DoorStep::AmqpBegin,
            Greeting::Attach => DoorStep::AmqpAttach,
        };
        match self.struck(None, step) {
            Some(FaultKind::AmqpSasl { code }) => {
                let mut outcome = Vec::new();
                self.server.end_sasl(code, &mut outcome);
                self.say(&outcome);
                None
            }
            // It has come to that, and the client is not told.
            Some(FaultKind::AmqpDrop { .. }) => Some(()),
            Some(FaultKind::AmqpCredit) => {
                // The first frame attaches; credit is granted by the one behind it.
                let attach = frame::length(out, usize::MAX).ok().flatten().unwrap_or(out.len());
                self.say(out.get(..attach).unwrap_or(out));
                Some(())
            }
            Some(fault) => {
                self.say(out);
                self.breaks_off(&fault)
            }
            None => {
                self.say(out);
                Some(())
            }
        }
    }

    /// Gives a request back unread, if the fault does that.
    pub(super) fn gives_back(&mut self, fault: &FaultKind, delivery: (u32, bool)) -> bool {
        let mut out = Vec::new();
        match fault {
            FaultKind::AmqpReject { condition } => self.server.reject_because(delivery, *condition, &mut out),
            FaultKind::AmqpRelease { form } => {
                self.server.release(delivery, *form == ReleaseForm::Modified, &mut out);
            }
            _ => return false,
        }
        self.say(&out);
        true
    }

    /// Ends the link or the connection after what has just been done, if the fault does that; `None` for the connection.
    pub(super) fn breaks_off(&mut self, fault: &FaultKind) -> Option<()> {
        let mut out = Vec::new();
        let goes_on = match fault {
            FaultKind::AmqpDetach { condition, .. } => {
                self.server.detach_because(*condition, &mut out);
                // Nobody is there any more who could hear what became of a request.
                self.pending.clear();
                Some(())
            }
            FaultKind::AmqpDisconnect { condition, .. } => {
                if let Some(condition) = condition {
                    self.server.close_because(*condition, &mut out);
                }
                None
            }
            _ => Some(()),
        };
        self.say(&out);
        goes_on
    }

    /// Says an answer wrongly, or not at all, if a fault does that; `false` if it is still to be sent.
    pub(super) fn goes_wrong(&mut self, answer: &mut Answer, refused: bool, out: &mut Vec<u8>) -> bool {
        let step = DoorStep::AmqpAnswer {
            refused,
            retry_after: answer.retry_after != RetryAfter::Absent,
            earlier: self.wrong.earlier,
        };
        let fault = self.struck(Some(answer.operation), step);
        let mut before = None;
        if !refused {
            before = std::mem::replace(&mut self.wrong.correlation_id, answer.correlation_id.clone());
            self.wrong.earlier = true;
        }
        self.server.spell_retry_after(RetryAfterKeys::default());
        let wrongly = match fault {
            Some(FaultKind::AmqpRetryAfter { form }) => {
                self.server.spell_retry_after(form.into());
                return false;
            }
            Some(FaultKind::AmqpBody { damage }) => {
                answer.body = damage::payload(&answer.body, damage).to_owned();
                return false;
            }
            Some(FaultKind::AmqpCorrelation { form }) => {
                answer.correlation_id = match form {
                    CorrelationForm::Wrong => Some(strange_correlation_id().into()),
                    CorrelationForm::Missing => None,
                    CorrelationForm::Reused => before,
                };
                return false;
            }
            Some(FaultKind::AmqpFrame { form }) => {
                self.server.misframe(form, out);
                return true;
            }
            Some(FaultKind::AmqpDrop { .. }) if refused => {
                self.server.forget(out);
                return true;
            }
            Some(FaultKind::AmqpDrop { frame: AmqpAwaited::Answer }) => Misanswer::WithoutAnswer,
            Some(FaultKind::AmqpDrop { .. }) => Misanswer::WithoutDisposition,
            Some(FaultKind::AmqpDuplicate) => Misanswer::Twice,
            Some(FaultKind::AmqpOrder) => Misanswer::AnswerFirst,
            _ => return false,
        };
        let correlation_id = answer.correlation_id.as_deref();
        let outcome = (answer.status, answer.retry_after);
        self.server.accept_wrongly(wrongly, answer.delivery, correlation_id, outcome, &answer.body, out);
        true
    }
}

#[cfg(test)]
#[path = "wrong_tests.rs"]
mod tests;
