//! The performatives: what frames of AMQP say (OASIS AMQP 1.0, part 2, 2.7).
//!
//! Only the fields that DPS has a use for are read and written; the others are passed over.

use super::value::{Compound, Described, Items, Reader, Value, write_descriptor};
use super::{Malformed, RetryAfterKeys, Role, read_retry_after, write_retry_after};
use crate::RetryAfter;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Performative<'a> {
    Open(Open<'a>),
    Begin(Begin),
    Attach(Attach<'a>),
    Flow(Flow),
    Transfer(Transfer<'a>),
    Disposition(Disposition<'a>),
    Detach(Detach<'a>),
    End(Option<Error<'a>>),
    Close(Option<Error<'a>>),
}

/// Opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open<'a> {
    pub(super) container_id: &'a str,
    pub(super) hostname: Option<&'a str>,
    /// The longest frame that the sender takes.
    pub(super) max_frame_size: u32,
    /// The highest channel that the sender takes.
    pub(super) channel_max: u16,
    /// The sender ends the connection after such a silence, in milliseconds.
    pub(super) idle_time_out_ms: Option<u32>,
}

/// Begins the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    /// The channel that this answers.
    pub(super) remote_channel: Option<u16>,
    pub(super) next_outgoing_id: u32,
    pub(super) incoming_window: u32,
    pub(super) outgoing_window: u32,
    pub(super) handle_max: u32,
}

/// Attaches a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attach<'a> {
    pub(super) name: &'a str,
    pub(super) handle: u32,
    pub(super) role: Role,
    pub(super) source: Option<Terminus<'a>>,
    pub(super) target: Option<Terminus<'a>>,
    /// Of a sender.
    pub(super) initial_delivery_count: Option<u32>,
    /// `com.microsoft:api-version`.
    pub(super) api_version: Option<&'a str>,
    /// `com.microsoft:client-version`.
    pub(super) client_version: Option<&'a str>,
}

/// An end of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terminus<'a> {
    pub(super) address: Option<&'a str>,
}

/// Says how much may be sent, on the session and on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) next_incoming_id: Option<u32>,
    pub(super) incoming_window: u32,
    pub(super) next_outgoing_id: u32,
    pub(super) outgoing_window: u32,
    /// Without it, the session alone is meant.
    pub(super) handle: Option<u32>,
    pub(super) delivery_count: Option<u32>,
    pub(super) link_credit: Option<u32>,
    pub(super) echo: bool,
}

/// Carries a message, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transfer<'a> {
    pub(super) handle: u32,
    /// Only the first part of a message has to have it.
    pub(super) delivery_id: Option<u32>,
    pub(super) delivery_tag: Option<&'a [u8]>,
    pub(super) settled: Option<bool>,
    /// More parts follow.
    pub(super) more: bool,
    pub(super) aborted: bool,
    pub(super) payload: &'a [u8],
}

/// Says what became of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disposition<'a> {
    /// Who says so.
    pub(super) role: Role,
    pub(super) first: u32,
    pub(super) last: Option<u32>,
    pub(super) settled: bool,
    pub(super) state: Option<State<'a>>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State<'a> {
    Accepted,
    Rejected(Option<Error<'a>>),
    Released,
    Modified,
    /// Not an outcome: some of it has come.
    Received,
}

/// Detaches a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detach<'a> {
    pub(super) handle: u32,
    pub(super) closed: bool,
    pub(super) error: Option<Error<'a>>,
}

/// Why something was refused or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Error<'a> {
    pub(super) condition: &'a str,
    pub(super) description: Option<&'a str>,
    /// `retry-after` of the error's info.
    pub(super) retry_after: RetryAfter,
    /// How it is spelled when it is written.
    pub(super) keys: RetryAfterKeys,
}

/// Reads the body of a frame; `None` for an empty one, which only says that the peer lives.
pub(super) fn read(body: &[u8]) -> Result<Option<Performative<'_>>, Malformed> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader(body);
    let described = reader.described()?;
    let mut fields = described.fields()?;
    Ok(Some(match described.descriptor {
        0x10 => Performative::Open(Open::read(&mut fields)?),
        0x11 => Performative::Begin(Begin::read(&mut fields)?),
        0x12 => Performative::Attach(Attach::read(&mut fields)?),
        0x13 => Performative::Flow(Flow::read(&mut fields)?),
        0x14 => Performative::Transfer(Transfer::read(&mut fields, reader.0)?),
        0x15 => Performative::Disposition(Disposition::read(&mut fields)?),
        0x16 => Performative::Detach(Detach::read(&mut fields)?),
        0x17 => Performative::End(Error::read(fields.field()?)?),
        0x18 => Performative::Close(Error::read(fields.field()?)?),
        _ => return Err(Malformed::Type),
    }))
}

/// Writes the body of a frame.
pub(super) fn write(performative: &Performative<'_>, out: &mut Vec<u8>) {
    match performative {
        Performative::Open(open) => open.write(out),
        Performative::Begin(begin) => begin.write(out),
        Performative::Attach(attach) => attach.write(out),
        Performative::Flow(flow) => flow.write(out),
        Performative::Transfer(transfer) => transfer.write(out),
        Performative::Disposition(disposition) => disposition.write(out),
        Performative::Detach(detach) => detach.write(out),
        Performative::End(error) => write_ending(0x17, error.as_ref(), out),
        Performative::Close(error) => write_ending(0x18, error.as_ref(), out),
    }
}

fn write_ending(descriptor: u8, error: Option<&Error<'_>>, out: &mut Vec<u8>) {
    let mut list = Compound::list(descriptor, out);
    write_error(error, &mut list);
    list.end();
}

fn write_error(error: Option<&Error<'_>>, list: &mut Compound<'_>) {
    match error {
        Some(error) => list.member(|out| error.write(out)),
        None => list.null(),
    };
}

impl<'a> Open<'a> {
    fn read(fields: &mut Items<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            container_id: fields.text()?.ok_or(Malformed::Missing)?,
            hostname: fields.text()?,
            max_frame_size: fields.number()?.unwrap_or(u32::MAX),
            channel_max: fields.number()?.unwrap_or(u16::MAX),
            idle_time_out_ms: fields.number()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        Compound::list(0x10, out)
            .string(self.container_id)
            .string(self.hostname)
            .uint((self.max_frame_size != u32::MAX).then_some(self.max_frame_size))
            .ushort((self.channel_max != u16::MAX).then_some(self.channel_max))
            .uint(self.idle_time_out_ms)
            .end();
    }
}

impl Begin {
    fn read(fields: &mut Items<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            remote_channel: fields.number()?,
            next_outgoing_id: fields.number()?.ok_or(Malformed::Missing)?,
            incoming_window: fields.number()?.ok_or(Malformed::Missing)?,
            outgoing_window: fields.number()?.ok_or(Malformed::Missing)?,
            handle_max: fields.number()?.unwrap_or(u32::MAX),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        Compound::list(0x11, out)
            .ushort(self.remote_channel)
            .uint(self.next_outgoing_id)
            .uint(self.incoming_window)
            .uint(self.outgoing_window)
            .uint((self.handle_max != u32::MAX).then_some(self.handle_max))
            .end();
    }
}

const API_VERSION: &str = "com.microsoft:api-version";
const CLIENT_VERSION: &str = "com.microsoft:client-version";

impl<'a> Attach<'a> {
    fn read(fields: &mut Items<'a>) -> Result<Self, Malformed> {
        let name = fields.text()?.ok_or(Malformed::Missing)?;
        let handle = fields.number()?.ok_or(Malformed::Missing)?;
        let role = Role::of(fields.flag()?.ok_or(Malformed::Missing)?);
        // Settle modes: either end does here what the defaults say.
        fields.pass(2)?;
        let source = Terminus::read(fields.field()?)?;
        let target = Terminus::read(fields.field()?)?;
        fields.pass(2)?;
        let initial_delivery_count = fields.number()?;
        fields.pass(3)?;
        let (mut api_version, mut client_version) = (None, None);
        if let Value::Map(mut properties) = fields.field()? {
            while let Some(pair) = properties.pair()? {
                match pair {
                    (Value::Text(API_VERSION), Value::Text(version)) => api_version = Some(version),
                    (Value::Text(CLIENT_VERSION), Value::Text(version)) => client_version = Some(version),
                    _ => {}
                }
            }
        }
        Ok(Self { name, handle, role, source, target, initial_delivery_count, api_version, client_version })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut list = Compound::list(0x12, out);
        list.string(self.name).uint(self.handle).flag(self.role == Role::Receiver).null().null();
        for (descriptor, terminus) in [(0x28, self.source), (0x29, self.target)] {
            match terminus {
                Some(terminus) => {
                    list.member(|out| Compound::list(descriptor, out).string(terminus.address).end())
                }
                None => list.null(),
            };
        }
        list.null().null().uint(self.initial_delivery_count).null().null().null();
        if self.api_version.is_some() || self.client_version.is_some() {
            list.member(|out| {
                let mut map = Compound::map(out);
                for (key, version) in [(API_VERSION, self.api_version), (CLIENT_VERSION, self.client_version)]
                {
                    if version.is_some() {
                        map.symbol(key).string(version);
                    }
                }
                map.end();
            });
        }
        list.end();
    }
}

impl<'a> Terminus<'a> {
    fn read(value: Value<'a>) -> Result<Option<Self>, Malformed> {
        match value {
            Value::Null => Ok(None),
            Value::Described(described) if matches!(described.descriptor, 0x28 | 0x29) => {
                Ok(Some(Self { address: described.fields()?.text()? }))
            }
            // A coordinator of transactions has no address.
            Value::Described(_) => Ok(Some(Self::default())),
            _ => Err(Malformed::Type),
        }
    }
}

impl Flow {
    fn read(fields: &mut Items<'_>) -> Result<Self, Malformed> {
        let next_incoming_id = fields.number()?;
        let incoming_window = fields.number()?.ok_or(Malformed::Missing)?;
        let next_outgoing_id = fields.number()?.ok_or(Malformed::Missing)?;
        let outgoing_window = fields.number()?.ok_or(Malformed::Missing)?;
        let (handle, delivery_count, link_credit) = (fields.number()?, fields.number()?, fields.number()?);
        fields.pass(2)?;
        let echo = fields.flag()?.unwrap_or(false);
        Ok(Self {
            next_incoming_id,
            incoming_window,
            next_outgoing_id,
            outgoing_window,
            handle,
            delivery_count,
            link_credit,
            echo,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        Compound::list(0x13, out)
            .uint(self.next_incoming_id)
            .uint(self.incoming_window)
            .uint(self.next_outgoing_id)
            .uint(self.outgoing_window)
            .uint(self.handle)
            .uint(self.delivery_count)
            .uint(self.link_credit)
            .null()
            .null()
            .flag(self.echo.then_some(true))
            .end();
    }
}

impl<'a> Transfer<'a> {
    fn read(fields: &mut Items<'a>, payload: &'a [u8]) -> Result<Self, Malformed> {
        let handle = fields.number()?.ok_or(Malformed::Missing)?;
        let (delivery_id, delivery_tag) = (fields.number()?, fields.binary()?);
        fields.pass(1)?;
        let (settled, more) = (fields.flag()?, fields.flag()?.unwrap_or(false));
        fields.pass(3)?;
        let aborted = fields.flag()?.unwrap_or(false);
        Ok(Self { handle, delivery_id, delivery_tag, settled, more, aborted, payload })
    }

    fn write(&self, out: &mut Vec<u8>) {
        Compound::list(0x14, out)
            .uint(self.handle)
            .uint(self.delivery_id)
            .binary(self.delivery_tag)
            // The message format of AMQP 1.0 itself.
            .uint(self.delivery_id.map(|_| 0))
            .flag(self.settled)
            .flag(self.more)
            .null()
            .null()
            .null()
            .flag(self.aborted.then_some(true))
            .end();
        out.extend(self.payload);
    }
}

impl<'a> Disposition<'a> {
    fn read(fields: &mut Items<'a>) -> Result<Self, Malformed> {
        let role = Role::of(fields.flag()?.ok_or(Malformed::Missing)?);
        // azure-iot-sdk-c and rhea leave the first delivery's number out where it is 0.
        let (first, last) = (fields.number()?.unwrap_or(0), fields.number()?);
        let settled = fields.flag()?.unwrap_or(false);
        Ok(Self { role, first, last, settled, state: State::read(fields.field()?)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut list = Compound::list(0x15, out);
        list.flag(self.role == Role::Receiver).uint(self.first).uint(self.last).flag(self.settled);
        match &self.state {
            Some(state) => list.member(|out| state.write(out)),
            None => list.null(),
        };
        list.end();
    }

    /// Whether a delivery is among those that this is about; numbers wrap around.
    pub(super) fn covers(&self, delivery_id: u32) -> bool {
        delivery_id.wrapping_sub(self.first) <= self.last.unwrap_or(self.first).wrapping_sub(self.first)
    }
}

impl<'a> State<'a> {
    fn read(value: Value<'a>) -> Result<Option<Self>, Malformed> {
        let described = match value {
            Value::Null => return Ok(None),
            Value::Described(described) => described,
            _ => return Err(Malformed::Type),
        };
        Ok(Some(match described.descriptor {
            0x24 => Self::Accepted,
            0x25 => Self::Rejected(Error::read(described.fields()?.field()?)?),
            0x26 => Self::Released,
            0x27 => Self::Modified,
            _ => Self::Received,
        }))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let descriptor = match self {
            Self::Accepted => 0x24,
            Self::Rejected(error) => return write_ending(0x25, error.as_ref(), out),
            Self::Released => 0x26,
            Self::Modified => 0x27,
            Self::Received => 0x23,
        };
        write_descriptor(descriptor, out);
        out.push(0x45);
    }
}

impl<'a> Detach<'a> {
    fn read(fields: &mut Items<'a>) -> Result<Self, Malformed> {
        // azure-iot-sdk-c and rhea leave the handle out where it is 0.
        let handle = fields.number()?.unwrap_or(0);
        let closed = fields.flag()?.unwrap_or(false);
        Ok(Self { handle, closed, error: Error::read(fields.field()?)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut list = Compound::list(0x16, out);
        list.uint(self.handle).flag(self.closed);
        write_error(self.error.as_ref(), &mut list);
        list.end();
    }
}

impl<'a> Error<'a> {
    pub(super) fn of(condition: &'a str, description: Option<&'a str>) -> Self {
        Self { condition, description, retry_after: RetryAfter::Absent, keys: RetryAfterKeys::default() }
    }

    fn read(value: Value<'a>) -> Result<Option<Self>, Malformed> {
        let mut fields = match value {
            Value::Null => return Ok(None),
            Value::Described(described) => error_fields(&described)?,
            _ => return Err(Malformed::Type),
        };
        let condition = fields.text()?.ok_or(Malformed::Missing)?;
        let description = fields.text()?;
        let retry_after = match fields.field()? {
            Value::Map(info) => read_retry_after(info)?,
            _ => RetryAfter::Absent,
        };
        Ok(Some(Self { condition, description, retry_after, keys: RetryAfterKeys::default() }))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut list = Compound::list(0x1d, out);
        list.symbol(self.condition).string(self.description);
        if self.retry_after != RetryAfter::Absent {
            list.member(|out| {
                let mut info = Compound::map(out);
                write_retry_after(self.retry_after, self.keys, &mut info, Compound::symbol);
                info.end();
            });
        }
        list.end();
    }
}

fn error_fields<'a>(described: &Described<'a>) -> Result<Items<'a>, Malformed> {
    if described.descriptor == 0x1d { described.fields() } else { Err(Malformed::Type) }
}

#[cfg(test)]
#[path = "performative_tests.rs"]
mod tests;
