//! Performatives against their own writer and against whatever a peer may send.

use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "x", "0ne00ABCDEF/registrations/dev-1", "ein längerer Text: ∞"])
}

fn error() -> impl Strategy<Value = Error<'static>> {
    (text(), option::of(text()), option::of(any::<u32>())).prop_map(|(condition, description, secs)| Error {
        condition,
        description,
        retry_after: secs.map_or(RetryAfter::Absent, RetryAfter::Seconds),
        keys: RetryAfterKeys::Both,
    })
}

fn role() -> impl Strategy<Value = Role> {
    any::<bool>().prop_map(Role::of)
}

fn terminus() -> impl Strategy<Value = Terminus<'static>> {
    option::of(text()).prop_map(|address| Terminus { address })
}

fn state() -> impl Strategy<Value = State<'static>> {
    prop_oneof![
        Just(State::Accepted),
        option::of(error()).prop_map(State::Rejected),
        Just(State::Released),
        Just(State::Modified),
        Just(State::Received),
    ]
}

fn open() -> impl Strategy<Value = Performative<'static>> {
    (text(), option::of(text()), any::<u32>(), any::<u16>(), option::of(any::<u32>())).prop_map(
        |(container_id, hostname, max_frame_size, channel_max, idle_time_out_ms)| {
            Performative::Open(Open { container_id, hostname, max_frame_size, channel_max, idle_time_out_ms })
        },
    )
}

fn attach() -> impl Strategy<Value = Performative<'static>> {
    let versions = (option::of(text()), option::of(text()));
    (
        text(),
        any::<u32>(),
        role(),
        option::of(terminus()),
        option::of(terminus()),
        any::<Option<u32>>(),
        versions,
    )
        .prop_map(|(name, handle, role, source, target, initial_delivery_count, versions)| {
            let (api_version, client_version) = versions;
            Performative::Attach(Attach {
                name,
                handle,
                role,
                source,
                target,
                initial_delivery_count,
                api_version,
                client_version,
            })
        })
}

fn flow() -> impl Strategy<Value = Performative<'static>> {
    let numbers = (any::<Option<u32>>(), any::<u32>(), any::<u32>(), any::<u32>());
    let link = (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>());
    (numbers, link).prop_map(|(numbers, (handle, delivery_count, link_credit, echo))| {
        let (next_incoming_id, incoming_window, next_outgoing_id, outgoing_window) = numbers;
        Performative::Flow(Flow {
            next_incoming_id,
            incoming_window,
            next_outgoing_id,
            outgoing_window,
            handle,
            delivery_count,
            link_credit,
            echo,
        })
    })
}

fn transfer() -> impl Strategy<Value = Performative<'static>> {
    let payload = prop::sample::select(vec![&b""[..], b"payload"]);
    let tag = option::of(prop::sample::select(vec![&b""[..], b"\x01\0\0\0"]));
    (any::<u32>(), any::<Option<u32>>(), tag, any::<Option<bool>>(), any::<bool>(), any::<bool>(), payload)
        .prop_map(|(handle, delivery_id, delivery_tag, settled, more, aborted, payload)| {
            Performative::Transfer(Transfer {
                handle,
                delivery_id,
                delivery_tag,
                settled,
                more,
                aborted,
                payload,
            })
        })
}

fn any_performative() -> impl Strategy<Value = Performative<'static>> {
    let begin = (any::<Option<u16>>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(remote_channel, next_outgoing_id, incoming_window, outgoing_window, handle_max)| {
            Performative::Begin(Begin {
                remote_channel,
                next_outgoing_id,
                incoming_window,
                outgoing_window,
                handle_max,
            })
        },
    );
    let disposition = (role(), any::<u32>(), any::<Option<u32>>(), any::<bool>(), option::of(state()))
        .prop_map(|(role, first, last, settled, state)| {
            Performative::Disposition(Disposition { role, first, last, settled, state })
        });
    let detach = (any::<u32>(), any::<bool>(), option::of(error()))
        .prop_map(|(handle, closed, error)| Performative::Detach(Detach { handle, closed, error }));
    prop_oneof![
        open(),
        begin,
        attach(),
        flow(),
        transfer(),
        disposition,
        detach,
        option::of(error()).prop_map(Performative::End),
        option::of(error()).prop_map(Performative::Close),
    ]
}

#[test]
fn an_empty_body_says_that_the_peer_lives() {
    assert_eq!(read(&[]), Ok(None));
}

#[test]
fn deliveries_are_covered_across_the_end_of_their_numbers() {
    let of = |first, last| Disposition { role: Role::Receiver, first, last, settled: true, state: None };
    assert!(of(3, None).covers(3) && !of(3, None).covers(4) && !of(3, None).covers(2));
    assert!(of(u32::MAX, Some(1)).covers(0) && !of(u32::MAX, Some(1)).covers(2));
}

/// A captured `open` of azure-iot-sdk-c, whose largest frame and channel are the defaults spelled out.
#[test]
fn fields_that_say_the_default_are_the_default() {
    let bytes = [
        0x00, 0x53, 0x10, 0xc0, 0x0d, 0x04, 0xa1, 0x01, b'p', 0x40, 0x70, 0xff, 0xff, 0xff, 0xff, 0x60, 0xff,
        0xff,
    ];
    let Ok(Some(Performative::Open(open))) = read(&bytes) else { panic!("{:?}", read(&bytes)) };
    assert_eq!((open.container_id, open.max_frame_size, open.channel_max), ("p", u32::MAX, u16::MAX));
}

proptest! {
    #[test]
    fn any_bytes_read_without_a_panic(bytes: Vec<u8>, descriptor in 0x10..0x19u8, count: u8) {
        let _ = read(&bytes);
        // A plausible head in front leads deeper.
        let mut plausible = vec![0, 0x53, descriptor, 0xc0, bytes.len().min(254) as u8 + 1, count];
        plausible.extend(&bytes);
        let _ = read(&plausible);
    }

    #[test]
    fn what_is_written_reads_back(performative in any_performative()) {
        let mut out = Vec::new();
        write(&performative, &mut out);
        prop_assert_eq!(read(&out), Ok(Some(performative)));
    }

    #[test]
    fn a_performative_that_was_cut_short_or_changed_is_survived(performative in any_performative(), cut: prop::sample::Index, at: prop::sample::Index, byte: u8) {
        let mut out = Vec::new();
        write(&performative, &mut out);
        let _ = read(&out[..cut.index(out.len())]);
        let at = at.index(out.len());
        out[at] = byte;
        let _ = read(&out);
    }
}
