//! The type system of AMQP (OASIS AMQP 1.0, part 1), as far as DPS needs it.
//!
//! Reading borrows and does not recurse: a compound value is a count and the bytes of its members, which are read when
//! somebody wants them. So whatever a peer nests or claims costs neither stack nor memory.

use super::Malformed;

/// The constructor of a described value.
const DESCRIBED: u8 = 0x00;

/// A value. Strings and symbols are both texts, integers of all widths are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    Text(&'a str),
    Binary(&'a [u8]),
    List(Items<'a>),
    /// Keys and values in turn.
    Map(Items<'a>),
    /// An array of texts.
    Texts(Texts<'a>),
    Described(Described<'a>),
    /// A type that DPS has no use for: a float, a timestamp, an array of lists, ...
    Other,
}

/// A value with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described<'a> {
    /// The numeric descriptor. Those of the specification are known by their symbols too; 0 is any other one.
    pub(super) descriptor: u64,
    bytes: &'a [u8],
}

impl<'a> Described<'a> {
    /// What is described.
    pub(super) fn value(&self) -> Result<Value<'a>, Malformed> {
        Reader(self.bytes).value()
    }

    /// The members of a described list.
    pub(super) fn fields(&self) -> Result<Items<'a>, Malformed> {
        match self.value()? {
            Value::List(items) => Ok(items),
            _ => Err(Malformed::Type),
        }
    }
}

/// The members of a list or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Items<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    /// The next member; absent ones at the end are null, as in the specification's composite types.
    pub(super) fn field(&mut self) -> Result<Value<'a>, Malformed> {
        if self.left == 0 {
            return Ok(Value::Null);
        }
        self.left -= 1;
        self.reader.value()
    }

    /// The next member as it is encoded; `None` for null.
    pub(super) fn raw(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = self.reader.0;
        let null = self.reader.value()? == Value::Null;
        Ok((!null).then(|| &before[..before.len() - self.reader.0.len()]))
    }

    /// Passes over `count` members.
    pub(super) fn pass(&mut self, count: u32) -> Result<(), Malformed> {
        for _ in 0..count.min(self.left) {
            self.left -= 1;
            self.reader.skip()?;
        }
        Ok(())
    }

    /// The next pair of a map; `None` after the last.
    pub(super) fn pair(&mut self) -> Result<Option<(Value<'a>, Value<'a>)>, Malformed> {
        if self.left < 2 {
            return Ok(None);
        }
        Ok(Some((self.field()?, self.field()?)))
    }

    pub(super) fn text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.field()? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(Malformed::Type),
        }
    }

    pub(super) fn binary(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.field()? {
            Value::Null => Ok(None),
            Value::Binary(bytes) => Ok(Some(bytes)),
            _ => Err(Malformed::Type),
        }
    }

    pub(super) fn flag(&mut self) -> Result<Option<bool>, Malformed> {
        match self.field()? {
            Value::Null => Ok(None),
            Value::Boolean(flag) => Ok(Some(flag)),
            _ => Err(Malformed::Type),
        }
    }

    /// An unsigned number of at most the width of `N`.
    pub(super) fn number<N: TryFrom<u64>>(&mut self) -> Result<Option<N>, Malformed> {
        match self.field()? {
            Value::Null => Ok(None),
            Value::Unsigned(number) => N::try_from(number).map(Some).map_err(|_| Malformed::Type),
            _ => Err(Malformed::Type),
        }
    }
}

/// The elements of an array of strings or symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Texts<'a> {
    left: u32,
    code: u8,
    reader: Reader<'a>,
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    /// Ends early where an element is none.
    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        std::str::from_utf8(self.reader.content(self.code).ok()?).ok()
    }
}

/// Reads values from bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let code = self.byte()?;
        if code != DESCRIBED {
            return self.plain(code);
        }
        let code = self.byte()?;
        let descriptor = match self.plain(code)? {
            Value::Unsigned(number) => number,
            Value::Text(symbol) => number_of(symbol),
            _ => 0,
        };
        let before = self.0;
        self.skip()?;
        Ok(Value::Described(Described { descriptor, bytes: &before[..before.len() - self.0.len()] }))
    }

    /// The next value, which must be described.
    pub(super) fn described(&mut self) -> Result<Described<'a>, Malformed> {
        match self.value()? {
            Value::Described(described) => Ok(described),
            _ => Err(Malformed::Type),
        }
    }

    /// Passes over a value. One that is described by a described value is none of the specification's.
    fn skip(&mut self) -> Result<(), Malformed> {
        loop {
            let code = self.byte()?;
            if code != DESCRIBED {
                return self.content(code).map(drop);
            }
            let code = self.byte()?;
            self.content(code)?;
        }
    }

    fn plain(&mut self, code: u8) -> Result<Value<'a>, Malformed> {
        let content = self.content(code)?;
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Boolean(true),
            0x42 => Value::Boolean(false),
            0x56 => match content {
                [0] => Value::Boolean(false),
                [1] => Value::Boolean(true),
                _ => return Err(Malformed::Type),
            },
            0x43 | 0x44 | 0x50 | 0x52 | 0x53 | 0x60 | 0x70 | 0x80 => Value::Unsigned(unsigned(content)),
            0x51 | 0x54 | 0x55 | 0x61 | 0x71 | 0x81 => Value::Signed(signed(content)),
            0xa0 | 0xb0 => Value::Binary(content),
            0xa1 | 0xa3 | 0xb1 | 0xb3 => {
                Value::Text(std::str::from_utf8(content).map_err(|_| Malformed::Text)?)
            }
            0x45 => Value::List(Items { left: 0, reader: Reader(content) }),
            0xc0 => Value::List(items::<1>(content)?),
            0xd0 => Value::List(items::<4>(content)?),
            0xc1 => Value::Map(items::<1>(content)?),
            0xd1 => Value::Map(items::<4>(content)?),
            0xe0 => array::<1>(content)?,
            0xf0 => array::<4>(content)?,
            _ => Value::Other,
        })
    }

    /// The bytes of a value behind its constructor, without the size that some have: the high half of a constructor
    /// says how to find its end, so that types of which nothing else is known can be passed over.
    fn content(&mut self, code: u8) -> Result<&'a [u8], Malformed> {
        let size = match code >> 4 {
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa | 0xc | 0xe => usize::from(self.byte()?),
            0xb | 0xd | 0xf => usize::try_from(unsigned(self.take(4)?)).map_err(|_| Malformed::Incomplete)?,
            _ => return Err(Malformed::Type),
        };
        self.take(size)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Incomplete)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or(Malformed::Incomplete)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn items<const WIDTH: usize>(content: &[u8]) -> Result<Items<'_>, Malformed> {
    let (count, members) = content.split_at_checked(WIDTH).ok_or(Malformed::Incomplete)?;
    let left = u32::try_from(unsigned(count)).map_err(|_| Malformed::Incomplete)?;
    // Every member has a constructor.
    if u64::from(left) > members.len() as u64 {
        return Err(Malformed::Incomplete);
    }
    Ok(Items { left, reader: Reader(members) })
}

fn array<const WIDTH: usize>(content: &[u8]) -> Result<Value<'_>, Malformed> {
    let (count, rest) = content.split_at_checked(WIDTH).ok_or(Malformed::Incomplete)?;
    let (code, elements) = rest.split_first().ok_or(Malformed::Incomplete)?;
    let left = u32::try_from(unsigned(count)).map_err(|_| Malformed::Incomplete)?;
    Ok(match code {
        0xa1 | 0xa3 | 0xb1 | 0xb3 => Value::Texts(Texts { left, code: *code, reader: Reader(elements) }),
        _ => Value::Other,
    })
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let first = bytes.first().map_or(0, |byte| i64::from(*byte as i8));
    bytes.iter().skip(1).fold(first, |number, byte| number << 8 | i64::from(*byte))
}

/// The symbols of the described types that a peer of DPS may send.
fn number_of(symbol: &str) -> u64 {
    const SYMBOLS: [(&str, u64); 31] = [
        ("amqp:open:list", 0x10),
        ("amqp:begin:list", 0x11),
        ("amqp:attach:list", 0x12),
        ("amqp:flow:list", 0x13),
        ("amqp:transfer:list", 0x14),
        ("amqp:disposition:list", 0x15),
        ("amqp:detach:list", 0x16),
        ("amqp:end:list", 0x17),
        ("amqp:close:list", 0x18),
        ("amqp:error:list", 0x1d),
        ("amqp:received:list", 0x23),
        ("amqp:accepted:list", 0x24),
        ("amqp:rejected:list", 0x25),
        ("amqp:released:list", 0x26),
        ("amqp:modified:list", 0x27),
        ("amqp:source:list", 0x28),
        ("amqp:target:list", 0x29),
        ("amqp:sasl-mechanisms:list", 0x40),
        ("amqp:sasl-init:list", 0x41),
        ("amqp:sasl-challenge:list", 0x42),
        ("amqp:sasl-response:list", 0x43),
        ("amqp:sasl-outcome:list", 0x44),
        ("amqp:header:list", 0x70),
        ("amqp:delivery-annotations:map", 0x71),
        ("amqp:message-annotations:map", 0x72),
        ("amqp:properties:list", 0x73),
        ("amqp:application-properties:map", 0x74),
        ("amqp:data:binary", 0x75),
        ("amqp:amqp-sequence:list", 0x76),
        ("amqp:amqp-value:*", 0x77),
        ("amqp:footer:map", 0x78),
    ];
    SYMBOLS.iter().find(|(known, _)| *known == symbol).map_or(0, |(_, number)| *number)
}

/// Writes a described value's descriptor.
pub(super) fn write_descriptor(descriptor: u8, out: &mut Vec<u8>) {
    out.extend([DESCRIBED, 0x53, descriptor]);
}

pub(super) fn write_binary(bytes: &[u8], out: &mut Vec<u8>) {
    write_sized(0xa0, 0xb0, bytes, out);
}

pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    write_sized(0xa1, 0xb1, text.as_bytes(), out);
}

fn write_sized(short: u8, long: u8, bytes: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(bytes.len()) {
        Ok(size) => out.extend([short, size]),
        Err(_) => {
            out.push(long);
            out.extend(size_of(bytes.len()));
        }
    }
    out.extend(bytes);
}

fn size_of(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// A list or a map that is being written.
pub(super) struct Compound<'a> {
    out: &'a mut Vec<u8>,
    /// Where its constructor stands.
    start: usize,
    map: bool,
    count: u32,
    /// Count and end without the nulls behind the last member: those of a list go without saying.
    said: (u32, usize),
}

/// What stands before the members: constructor, size and count.
const HEAD_BYTES: usize = 9;

impl<'a> Compound<'a> {
    /// A list that is described.
    pub(super) fn list(descriptor: u8, out: &'a mut Vec<u8>) -> Self {
        write_descriptor(descriptor, out);
        Self::start(false, out)
    }

    /// A map.
    pub(super) fn map(out: &'a mut Vec<u8>) -> Self {
        Self::start(true, out)
    }

    fn start(map: bool, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend([0; HEAD_BYTES]);
        let end = out.len();
        Self { out, start, map, count: 0, said: (0, end) }
    }

    /// Writes a member with `write`.
    pub(super) fn member(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        write(self.out);
        self.count += 1;
        self.said = (self.count, self.out.len());
        self
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(T, &mut Vec<u8>)) -> &mut Self {
        match value {
            Some(value) => self.member(|out| write(value, out)),
            None => self.null(),
        }
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.out.push(0x40);
        self.count += 1;
        self
    }

    pub(super) fn flag(&mut self, value: impl Into<Option<bool>>) -> &mut Self {
        self.maybe(value.into(), |flag, out| out.push(if flag { 0x41 } else { 0x42 }))
    }

    pub(super) fn ubyte(&mut self, value: impl Into<Option<u8>>) -> &mut Self {
        self.maybe(value.into(), |number, out| out.extend([0x50, number]))
    }

    pub(super) fn ushort(&mut self, value: impl Into<Option<u16>>) -> &mut Self {
        self.maybe(value.into(), |number, out| {
            out.push(0x60);
            out.extend(number.to_be_bytes());
        })
    }

    pub(super) fn uint(&mut self, value: impl Into<Option<u32>>) -> &mut Self {
        self.maybe(value.into(), |number, out| match (number, u8::try_from(number)) {
            (0, _) => out.push(0x43),
            (_, Ok(small)) => out.extend([0x52, small]),
            _ => {
                out.push(0x70);
                out.extend(number.to_be_bytes());
            }
        })
    }

    /// An `int`.
    pub(super) fn int(&mut self, number: i32) -> &mut Self {
        self.member(|out| match i8::try_from(number) {
            Ok(small) => out.extend([0x54, small as u8]),
            Err(_) => {
                out.push(0x71);
                out.extend(number.to_be_bytes());
            }
        })
    }

    /// A `long`.
    pub(super) fn long(&mut self, number: i64) -> &mut Self {
        self.member(|out| {
            out.push(0x81);
            out.extend(number.to_be_bytes());
        })
    }

    pub(super) fn string<'t>(&mut self, value: impl Into<Option<&'t str>>) -> &mut Self {
        self.maybe(value.into(), write_string)
    }

    pub(super) fn symbol<'t>(&mut self, value: impl Into<Option<&'t str>>) -> &mut Self {
        self.maybe(value.into(), |text, out| write_sized(0xa3, 0xb3, text.as_bytes(), out))
    }

    pub(super) fn binary<'t>(&mut self, value: impl Into<Option<&'t [u8]>>) -> &mut Self {
        self.maybe(value.into(), write_binary)
    }

    /// An array of symbols.
    pub(super) fn symbols(&mut self, symbols: &[&str]) -> &mut Self {
        self.member(|out| {
            let start = out.len();
            out.extend([0xf0, 0, 0, 0, 0]);
            out.extend(size_of(symbols.len()));
            out.push(0xb3);
            for symbol in symbols {
                out.extend(size_of(symbol.len()));
                out.extend(symbol.as_bytes());
            }
            let size = size_of(out.len() - start - 5);
            out[start + 1..start + 5].copy_from_slice(&size);
        })
    }

    /// Ends it: its size and count are known now.
    pub(super) fn end(&mut self) {
        let (count, end) = if self.map { (self.count, self.out.len()) } else { self.said };
        self.out.truncate(end);
        if count == 0 && !self.map {
            self.out.truncate(self.start);
            return self.out.push(0x45);
        }
        let head = &mut self.out[self.start..self.start + HEAD_BYTES];
        head[0] = if self.map { 0xd1 } else { 0xd0 };
        head[1..5].copy_from_slice(&size_of(end - self.start - 5));
        head[5..9].copy_from_slice(&count.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(bytes: &[u8]) -> Result<Value<'_>, Malformed> {
        Reader(bytes).value()
    }

    /// The encodings of part 1, 1.6.
    #[test]
    fn every_width_of_a_number_reads_the_same() {
        for bytes in [
            &[0x52, 7][..],
            &[0x53, 7],
            &[0x50, 7],
            &[0x60, 0, 7],
            &[0x70, 0, 0, 0, 7],
            &[0x80, 0, 0, 0, 0, 0, 0, 0, 7],
        ] {
            assert_eq!(one(bytes), Ok(Value::Unsigned(7)), "{bytes:x?}");
        }
        for bytes in [
            &[0x51, 0xfe][..],
            &[0x54, 0xfe],
            &[0x55, 0xfe],
            &[0x61, 0xff, 0xfe],
            &[0x71, 0xff, 0xff, 0xff, 0xfe],
            &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
        ] {
            assert_eq!(one(bytes), Ok(Value::Signed(-2)), "{bytes:x?}");
        }
        assert_eq!((one(&[0x43]), one(&[0x44])), (Ok(Value::Unsigned(0)), Ok(Value::Unsigned(0))));
        assert_eq!((one(&[0x56, 1]), one(&[0x41])), (Ok(Value::Boolean(true)), Ok(Value::Boolean(true))));
        assert_eq!(one(&[0x56, 2]), Err(Malformed::Type));
    }

    #[test]
    fn a_symbolic_descriptor_means_its_number() {
        let mut bytes = vec![0x00, 0xa3, 14];
        bytes.extend(b"amqp:open:list");
        bytes.push(0x45);
        let Ok(Value::Described(described)) = one(&bytes) else { panic!("no described value") };
        assert_eq!(described.descriptor, 0x10);
        assert_eq!(described.fields().and_then(|mut fields| fields.field()), Ok(Value::Null));
    }

    #[test]
    fn claims_beyond_the_bytes_are_refused() {
        for bytes in [
            &[0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff][..],
            &[0xc0, 2, 200, 0x40],
            &[0xa1, 5, b'a'],
            &[0xb0, 0xff, 0xff, 0xff, 0xff],
            &[0xe0, 1, 1],
            &[0x70, 0, 0],
            &[],
            &[0x00],
        ] {
            assert_eq!(one(bytes), Err(Malformed::Incomplete), "{bytes:x?}");
        }
    }

    /// The decoder of a general codec that was tried overflows its stack here and takes the process with it.
    #[test]
    fn nesting_costs_no_stack() {
        let mut lists = vec![0x40];
        for _ in 0..20_000 {
            let mut outer = vec![0xd0];
            outer.extend(size_of(lists.len() + 4));
            outer.extend(size_of(1));
            outer.append(&mut lists);
            lists = outer;
        }
        assert!(matches!(one(&lists), Ok(Value::List(_))));
        let mut described: Vec<u8> = [0x00, 0x43].repeat(200_000);
        described.push(0x40);
        assert!(matches!(one(&described), Ok(Value::Described(_))));
        assert_eq!(one(&[0; 200_000]), Err(Malformed::Type), "a descriptor that is described");
    }

    #[test]
    fn nulls_behind_the_last_member_of_a_list_are_not_written() {
        let mut out = Vec::new();
        Compound::list(0x10, &mut out).string("x").null().uint(None).end();
        assert_eq!(out, [0x00, 0x53, 0x10, 0xd0, 0, 0, 0, 7, 0, 0, 0, 1, 0xa1, 1, b'x']);
        out.clear();
        Compound::list(0x17, &mut out).null().end();
        assert_eq!(out, [0x00, 0x53, 0x17, 0x45]);
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while let Ok(value) = reader.value() {
                if let Value::List(mut items) | Value::Map(mut items) = value {
                    while items.left > 0 && items.field().is_ok() {}
                }
                if let Value::Texts(texts) = value {
                    let _ = texts.count();
                }
            }
        }

        #[test]
        fn members_come_out_as_they_went_in(
            flag: Option<bool>, number: Option<u32>, short: Option<u16>, byte: Option<u8>, int: i32,
            text in proptest::option::of(".{0,300}"), bytes in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..600)),
            symbols in proptest::collection::vec("[A-Z]{1,9}", 0..5),
        ) {
            let mut out = Vec::new();
            let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
            Compound::list(0x70, &mut out).flag(flag).uint(number).ushort(short).ubyte(byte).int(int)
                .string(text.as_deref()).symbol(text.as_deref()).binary(bytes.as_deref()).symbols(&names).end();
            let mut reader = Reader(&out);
            let mut fields = reader.described().unwrap().fields().unwrap();
            prop_assert!(reader.0.is_empty());
            prop_assert_eq!(fields.flag().unwrap(), flag);
            prop_assert_eq!(fields.number::<u32>().unwrap(), number);
            prop_assert_eq!(fields.number::<u16>().unwrap(), short);
            prop_assert_eq!(fields.number::<u8>().unwrap(), byte);
            prop_assert_eq!(fields.field().unwrap(), Value::Signed(int.into()));
            prop_assert_eq!(fields.text().unwrap(), text.as_deref());
            prop_assert_eq!(fields.text().unwrap(), text.as_deref());
            prop_assert_eq!(fields.binary().unwrap(), bytes.as_deref());
            let Value::Texts(read) = fields.field().unwrap() else { panic!("no array") };
            prop_assert_eq!(read.collect::<Vec<_>>(), names);
            prop_assert_eq!(fields.field().unwrap(), Value::Null);
        }
    }
}
