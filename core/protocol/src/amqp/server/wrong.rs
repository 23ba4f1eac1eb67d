//! What a service says wrongly, for faults of the protocol.

use super::super::performative::{Detach, Error, Performative, State};
use super::super::sasl::{self, Sasl};
use super::super::{RetryAfterKeys, frame};
use super::{Server, Stage, say};
use crate::amqp::{AmqpCondition, FrameForm};
use crate::{RetryAfter, Status};

/// What is wrong with how an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misanswer {
    /// Nothing says what became of the request's delivery.
    WithoutDisposition,
    /// The request is accepted and never answered.
    WithoutAnswer,
    /// The answer comes before the disposition.
    AnswerFirst,
    /// The answer comes twice.
    Twice,
}

const DESCRIPTION: &str = "a fault that was asked for";

impl Server {
    /// Ends the SASL layer with this code instead of the one that was written to nobody.
    pub fn end_sasl(&mut self, code: u8, out: &mut Vec<u8>) {
        frame::write_sasl(out, |out| sasl::write(&Sasl::Outcome(code), out));
        self.stage = Stage::Over;
    }

    /// Ends the connection for this reason.
    pub fn close_because(&mut self, condition: AmqpCondition, out: &mut Vec<u8>) {
        self.close(condition.symbol(), DESCRIPTION, out);
    }

    /// Detaches the link that carries requests for this reason.
    pub fn detach_because(&mut self, condition: AmqpCondition, out: &mut Vec<u8>) {
        let Some(handle) = self.receiving.handle else { return };
        self.receiving.detach();
        let error = Error::of(condition.symbol(), Some(DESCRIPTION));
        say(Performative::Detach(Detach { handle, closed: true, error: Some(error) }), out);
    }

    /// Rejects a request for this reason, without a word of DPS.
    pub fn reject_because(
        &mut self,
        (delivery, settled): (u32, bool),
        condition: AmqpCondition,
        out: &mut Vec<u8>,
    ) {
        let error = Error::of(condition.symbol(), None);
        self.dispose(delivery, settled, State::Rejected(Some(error)), out);
        self.done(out);
    }

    /// Gives a request back; `modified` if it counts as tried.
    pub fn release(&mut self, (delivery, settled): (u32, bool), modified: bool, out: &mut Vec<u8>) {
        self.dispose(delivery, settled, if modified { State::Modified } else { State::Released }, out);
        self.done(out);
    }

    /// As [`Self::accept`], but wrongly.
    pub fn accept_wrongly(
        &mut self,
        how: Misanswer,
        (delivery, settled): (u32, bool),
        correlation_id: Option<&[u8]>,
        (status, retry_after): (Status, RetryAfter),
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        if matches!(how, Misanswer::WithoutAnswer | Misanswer::Twice) {
            self.dispose(delivery, settled, State::Accepted, out);
        }
        if how != Misanswer::WithoutAnswer {
            self.answer(correlation_id, (status, retry_after), body, out);
        }
        match how {
            Misanswer::AnswerFirst => self.dispose(delivery, settled, State::Accepted, out),
            // The client may have asked for one answer only.
            Misanswer::Twice if self.may_answer(body.len()) => {
                self.answer(correlation_id, (status, retry_after), body, out);
            }
            _ => {}
        }
        self.done(out);
    }

    /// Sends a frame that is wrong in place of what was due for a request.
    pub fn misframe(&mut self, form: FrameForm, out: &mut Vec<u8>) {
        match form {
            // A list under a descriptor that no performative has.
            FrameForm::Malformed => frame::write_amqp(out, |out| out.extend([0, 0x53, 0x7f, 0x45])),
            FrameForm::Oversized => {
                out.extend(self.sending.frame_max().saturating_add(1).to_be_bytes());
                out.extend([2, 0, 0, 0]);
            }
            FrameForm::Short => out.extend([0, 0, 0, 4, 2, 0, 0, 0]),
            FrameForm::OtherChannel => {
                let start = out.len();
                say(Performative::End(None), out);
                out[start + 7] = 7;
            }
        }
        self.done(out);
    }

    /// Drops a request that is never answered.
    pub fn forget(&mut self, out: &mut Vec<u8>) {
        self.done(out);
    }

    /// Spells `retry-after` in this way from now on.
    pub fn spell_retry_after(&mut self, keys: RetryAfterKeys) {
        self.keys = keys;
    }
}

#[cfg(test)]
#[path = "wrong_tests.rs"]
mod tests;
