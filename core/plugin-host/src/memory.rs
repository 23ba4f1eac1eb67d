//! What the host keeps for strategies: plain bytes, zero to begin with.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

/// How much memory, and how it is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes.
    pub size: usize,
    /// A power of two, at most 16.
    pub align: usize,
}

/// The unit of memory: aligned for whatever a strategy may keep.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(16))]
struct Block([u8; 16]);

/// Zeroed memory of its own.
pub(super) struct Bytes {
    blocks: Box<[Block]>,
    size: usize,
}

impl Bytes {
    pub(super) fn zeroed(layout: Layout) -> Self {
        Self {
            blocks: vec![Block::zeroed(); layout.size.div_ceil(size_of::<Block>())].into(),
            size: layout.size,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.size]
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.size]
    }
}

/// What a strategy remembers of one device, in memory of its own. A driver with many devices keeps them side by side in a slab.
pub struct Session(Bytes);

impl Session {
    pub(super) fn new(layout: Layout) -> Self {
        Self(Bytes::zeroed(layout))
    }
}

impl Deref for Session {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// What the strategies of many devices remember of them, side by side.
pub struct Sessions {
    blocks: Vec<Block>,
    /// Blocks a device.
    stride: usize,
}

impl Sessions {
    /// Zeroed memory of up to `size` bytes for each of `devices`.
    pub fn of(devices: u32, size: usize) -> Self {
        let stride = size.div_ceil(size_of::<Block>());
        Self { blocks: vec![Block::zeroed(); devices as usize * stride], stride }
    }

    /// The first `size` bytes of a device's memory.
    pub fn get_mut(&mut self, device: usize, size: usize) -> &mut [u8] {
        let blocks = &mut self.blocks[device * self.stride..][..self.stride];
        &mut bytemuck::cast_slice_mut(blocks)[..size]
    }
}

/// Whether `bytes` is memory of this layout.
#[inline]
pub(super) fn fits(bytes: &[u8], layout: Layout) -> bool {
    bytes.len() == layout.size && (layout.size == 0 || bytes.as_ptr().addr().is_multiple_of(layout.align))
}
