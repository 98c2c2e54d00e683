//! JavaScript strings as UTF-8.

use std::ffi::c_char;
use std::ptr;

use napi::sys;

use super::{Buffer, Scope, ScopedValue, check};
use crate::error::{Error, Result};

/// The longest UTF-8 sequence and Node's final NUL: with more room than this left, the string was not cut.
const SLACK: usize = 5;

/// Outcome of writing a string into limited room.
pub enum TextWrite {
    NoString,
    Written,
    TooLong,
}

/// The length of a string as UTF-8.
#[derive(Clone, Copy)]
pub struct TextLength {
    pub utf8: usize,
    is_ascii: bool,
}

/// A buffer to which text is appended.
pub trait TextBuffer {
    fn len(&self) -> usize;
    fn make_room(&mut self, additional: usize);
    /// The allocated memory after the bytes, and its size.
    fn spare(&mut self) -> (*mut u8, usize);
    /// # Safety
    ///
    /// The first `length` bytes are initialised.
    unsafe fn set_len(&mut self, length: usize);
}

impl TextBuffer for Buffer {
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn make_room(&mut self, additional: usize) {
        self.reserve_exact(additional);
    }

    fn spare(&mut self) -> (*mut u8, usize) {
        let (start, room) = (self.len(), self.capacity() - self.len());
        // SAFETY: `start` is within the allocation.
        (unsafe { self.as_mut_ptr().add(start) }, room)
    }

    unsafe fn set_len(&mut self, length: usize) {
        // SAFETY: the caller's.
        unsafe { self.set_len(length) };
    }
}

impl TextBuffer for Vec<u8> {
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn make_room(&mut self, additional: usize) {
        self.reserve(additional);
    }

    fn spare(&mut self) -> (*mut u8, usize) {
        let spare = self.spare_capacity_mut();
        (spare.as_mut_ptr().cast(), spare.len())
    }

    unsafe fn set_len(&mut self, length: usize) {
        // SAFETY: the caller's.
        unsafe { self.set_len(length) };
    }
}

impl Scope<'_> {
    /// Appends a string as UTF-8. False, and nothing appended, if the value is no string.
    #[inline]
    pub fn append_utf8(self, value: ScopedValue, buffer: &mut Buffer) -> Result<bool> {
        match self.try_utf8(value, buffer)? {
            TextWrite::NoString => Ok(false),
            TextWrite::Written => Ok(true),
            TextWrite::TooLong => self
                .append_long(value, self.text_length(value)?, buffer)
                .map(|()| true),
        }
    }

    /// Appends a string as UTF-8 if there is room for it already.
    #[inline]
    pub fn try_utf8(self, value: ScopedValue, buffer: &mut Buffer) -> Result<TextWrite> {
        let start = buffer.len();
        if buffer.capacity() - start <= SLACK {
            buffer.reserve(64);
        }
        let room = buffer.capacity() - start;
        let Some(written) = self.write_utf8(value, buffer, room)? else {
            return Ok(TextWrite::NoString);
        };
        if buffer.capacity() - start <= written + SLACK {
            return Ok(TextWrite::TooLong);
        }
        // SAFETY: Node has just initialised this many bytes from `start` on, within the capacity.
        unsafe { buffer.set_len(start + written) };
        Ok(TextWrite::Written)
    }

    /// Appends a string of this length as UTF-8.
    pub fn append_long(
        self,
        value: ScopedValue,
        length: TextLength,
        buffer: &mut impl TextBuffer,
    ) -> Result<()> {
        let start = buffer.len();
        let room = length.utf8 + SLACK + 1;
        buffer.make_room(room);
        let written = if length.is_ascii {
            self.write_latin1(value, buffer, room)?
        } else {
            self.write_utf8(value, buffer, room)?.unwrap_or(0)
        };
        if written != length.utf8 {
            return Err(Error::reply("ERR a string is not as long as it was"));
        }
        // SAFETY: as in `try_utf8`.
        unsafe { buffer.set_len(start + written) };
        Ok(())
    }

    #[inline]
    fn write_utf8(
        self,
        value: ScopedValue,
        buffer: &mut impl TextBuffer,
        room: usize,
    ) -> Result<Option<usize>> {
        let (spare, most) = buffer.spare();
        let room = room.min(most);
        let mut written = 0;
        // SAFETY: Node writes no more than `room` bytes.
        let status = unsafe {
            sys::napi_get_value_string_utf8(self.env, value.raw, spare.cast::<c_char>(), room, &mut written)
        };
        match status {
            sys::Status::napi_string_expected => Ok(None),
            status => check(status).map(|()| Some(written)),
        }
    }

    /// For ASCII only: V8 copies it many times faster than it encodes UTF-8.
    fn write_latin1(self, value: ScopedValue, buffer: &mut impl TextBuffer, room: usize) -> Result<usize> {
        let (spare, most) = buffer.spare();
        let room = room.min(most);
        let mut written = 0;
        // SAFETY: as in `write_utf8`.
        check(unsafe {
            sys::napi_get_value_string_latin1(self.env, value.raw, spare.cast::<c_char>(), room, &mut written)
        })?;
        Ok(written)
    }

    pub fn text_length(self, value: ScopedValue) -> Result<TextLength> {
        let utf8 = self.utf8_length(value)?;
        Ok(TextLength {
            utf8,
            is_ascii: self.utf16_length(value)? == utf8,
        })
    }

    fn utf16_length(self, value: ScopedValue) -> Result<usize> {
        let mut length = 0;
        // SAFETY: without a buffer Node only measures.
        check(unsafe {
            sys::napi_get_value_string_utf16(self.env, value.raw, ptr::null_mut(), 0, &mut length)
        })?;
        Ok(length)
    }

    fn utf8_length(self, value: ScopedValue) -> Result<usize> {
        let mut length = 0;
        // SAFETY: without a buffer Node only measures.
        check(unsafe {
            sys::napi_get_value_string_utf8(self.env, value.raw, ptr::null_mut(), 0, &mut length)
        })?;
        Ok(length)
    }
}
