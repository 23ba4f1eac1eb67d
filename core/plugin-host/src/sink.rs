//! Where plugins put results of unknown length.
//!
//! A sink's context is a number, not an address: the callback looks it up among the sinks that are open on its thread.
//! A plugin that writes after its call has ended, from another thread or to a sink it made up writes nowhere.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use fleetstorm_plugin::abi::{Sink, Slice};
use zeroize::Zeroizing;

/// Most bytes that one call may write; a schema or a chain of certificates is far from it.
const MOST: usize = 1 << 20;

/// What a call wrote. It may be a token, so it is wiped.
#[derive(Default)]
pub(super) struct Written {
    pub(super) pieces: Vec<Zeroizing<Vec<u8>>>,
    bytes: usize,
    /// It wrote more than it may, or from nowhere.
    wrong: bool,
}

impl Written {
    /// Everything in one piece; `None` if the plugin wrote more than it may or pointed nowhere.
    pub(super) fn whole(&self) -> Option<Zeroizing<Vec<u8>>> {
        (!self.wrong)
            .then(|| Zeroizing::new(self.pieces.iter().flat_map(|piece| piece.iter().copied()).collect()))
    }

    /// The pieces as they were written.
    pub(super) fn parts(self) -> Option<Vec<Zeroizing<Vec<u8>>>> {
        (!self.wrong).then_some(self.pieces)
    }

    /// As text for a person: no longer than a line or two, whatever was written.
    pub(super) fn reason(&self) -> String {
        let bytes = self.whole().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.trim().is_empty() { "it gave no reason".to_owned() } else { text }
    }
}

thread_local! {
    static OPEN: RefCell<Vec<(usize, Written)>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<usize> = const { Cell::new(1) };
}

/// Lends a sink to `call` and returns what was written to it.
pub(super) fn collect<T>(call: impl FnOnce(Sink) -> T) -> (T, Written) {
    let token = NEXT.get();
    NEXT.set(token.wrapping_add(1).max(1));
    OPEN.with_borrow_mut(|open| open.push((token, Written::default())));
    let result = call(Sink { ctx: std::ptr::without_provenance_mut(token), write: Some(write) });
    let written = OPEN.with_borrow_mut(|open| {
        let at = open.iter().rposition(|(open, _)| *open == token);
        at.map(|at| open.swap_remove(at).1).unwrap_or_default()
    });
    (result, written)
}

unsafe extern "C" fn write(ctx: *mut c_void, bytes: Slice) {
    let token = ctx.addr();
    OPEN.with(|open| {
        let Ok(mut open) = open.try_borrow_mut() else { return };
        let Some((_, written)) = open.iter_mut().find(|(open, _)| *open == token) else { return };
        if bytes.len > MOST - written.bytes || bytes.ptr.is_null() && bytes.len > 0 {
            written.wrong = true;
            return;
        }
        let piece = if bytes.len == 0 {
            Vec::new()
        } else {
            // SAFETY: the plugin lends `len` readable bytes for this call; the pointer is not null.
            unsafe { std::slice::from_raw_parts(bytes.ptr, bytes.len) }.to_vec()
        };
        written.bytes += piece.len();
        written.pieces.push(Zeroizing::new(piece));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(sink: Sink, bytes: &[u8]) {
        // SAFETY: the slice is valid during the call.
        unsafe { (sink.write.unwrap())(sink.ctx, Slice::of(bytes)) };
    }

    #[test]
    fn pieces_stay_apart_and_sinks_do_too() {
        let ((), outer) = collect(|outer| {
            send(outer, b"a");
            let ((), inner) = collect(|inner| {
                send(outer, b"b");
                send(inner, b"c");
            });
            assert_eq!(inner.whole().unwrap().as_slice(), b"c");
        });
        assert_eq!(outer.pieces.len(), 2);
        assert_eq!(outer.whole().unwrap().as_slice(), b"ab");
    }

    #[test]
    fn writing_late_or_from_elsewhere_writes_nowhere() {
        let (kept, _) = collect(|sink| sink);
        let ((), written) = collect(|sink| {
            send(kept, b"late");
            let ctx = sink.ctx.addr();
            std::thread::spawn(move || {
                send(
                    Sink { ctx: std::ptr::without_provenance_mut(ctx), write: Some(write) },
                    b"other thread",
                );
            })
            .join()
            .unwrap();
        });
        assert!(written.pieces.is_empty());
    }

    #[test]
    fn writing_too_much_or_from_null_is_wrong() {
        let ((), written) = collect(|sink| {
            // SAFETY: the callback looks at the pointer before it reads.
            unsafe { write(sink.ctx, Slice { ptr: std::ptr::null(), len: 5 }) };
        });
        assert!(written.whole().is_none());
        let ((), written) = collect(|sink| (0..300).for_each(|_| send(sink, &[0; 4096])));
        assert!(written.whole().is_none());
        assert_eq!(written.reason(), "it gave no reason");
    }
}
