//! The bytes of requests and replies. Numbers are little-endian, every head has a fixed length.
//!
//! A request opens a stream: `0x01 topic:u8 length:u32 bytes` is a message, `0x02 digest:[u8;32] bytes_max:u64` asks for a
//! blob. The reply on the same stream is `status:u8 argument:u64`, followed by the blob if there is one.

use pactum_protocol::Digest;

const MESSAGE: u8 = 1;
const FETCH: u8 = 2;

/// Length of a message's head, its kind included.
const MESSAGE_HEAD: usize = 6;
/// Length of a fetch, its kind included.
const FETCH_HEAD: usize = 41;
/// The longest head of a request.
pub(crate) const REQUEST_HEAD_MAX: usize = FETCH_HEAD;
/// Length of the head of a reply.
pub(crate) const REPLY_HEAD: usize = 9;

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `bytes` bytes follow.
    Message { topic: u8, bytes: u32 },
    /// The blob named `digest`, if it has at most `bytes_max` bytes.
    Fetch { digest: Digest, bytes_max: u64 },
}

/// The head of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The message was taken.
    Accepted,
    /// The message was refused for this reason.
    Refused(u16),
    /// The blob follows, of so many bytes.
    Found(u64),
    /// There is no such blob.
    Absent,
    /// There is such a blob, but not yet for anybody.
    Withheld,
    /// What was sent or asked for has more bytes than it may; the blob's length, or the bound for messages.
    TooLarge(u64),
    /// Too many requests or bytes; to be tried again after so many milliseconds.
    Busy(u64),
    /// The asking hotkey is unknown here.
    NotAdmitted,
}

/// Bytes that are no request or no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that follow no known format")]
pub(crate) struct FrameError;

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Message { topic, bytes } => [&[MESSAGE, *topic], &bytes.to_le_bytes()[..]].concat(),
            Self::Fetch { digest, bytes_max } => [&[FETCH][..], &digest.0, &bytes_max.to_le_bytes()].concat(),
        }
    }

    /// How many bytes follow the first byte of a head.
    pub(crate) fn rest(kind: u8) -> Result<usize, FrameError> {
        match kind {
            MESSAGE => Ok(MESSAGE_HEAD - 1),
            FETCH => Ok(FETCH_HEAD - 1),
            _ => Err(FrameError),
        }
    }

    pub(crate) fn decode(head: &[u8]) -> Result<Self, FrameError> {
        let (kind, rest) = head.split_first().ok_or(FrameError)?;
        match *kind {
            MESSAGE => {
                let (topic, length) = rest.split_first().ok_or(FrameError)?;
                Ok(Self::Message { topic: *topic, bytes: u32::from_le_bytes(array(length)?) })
            }
            FETCH => {
                let (digest, length) = rest.split_at_checked(32).ok_or(FrameError)?;
                Ok(Self::Fetch { digest: Digest(array(digest)?), bytes_max: u64::from_le_bytes(array(length)?) })
            }
            _ => Err(FrameError),
        }
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> [u8; REPLY_HEAD] {
        let (status, argument) = match *self {
            Self::Accepted => (0, 0),
            Self::Refused(reason) => (1, u64::from(reason)),
            Self::Found(bytes) => (2, bytes),
            Self::Absent => (3, 0),
            Self::Withheld => (4, 0),
            Self::TooLarge(bytes) => (5, bytes),
            Self::Busy(millis) => (6, millis),
            Self::NotAdmitted => (7, 0),
        };
        let mut head = [status; REPLY_HEAD];
        head[1..].copy_from_slice(&argument.to_le_bytes());
        head
    }

    pub(crate) fn decode(head: &[u8; REPLY_HEAD]) -> Result<Self, FrameError> {
        let argument = u64::from_le_bytes(array(&head[1..])?);
        match (head[0], argument) {
            (0, 0) => Ok(Self::Accepted),
            (1, reason) => u16::try_from(reason).map(Self::Refused).map_err(|_| FrameError),
            (2, bytes) => Ok(Self::Found(bytes)),
            (3, 0) => Ok(Self::Absent),
            (4, 0) => Ok(Self::Withheld),
            (5, bytes) => Ok(Self::TooLarge(bytes)),
            (6, millis) => Ok(Self::Busy(millis)),
            (7, 0) => Ok(Self::NotAdmitted),
            _ => Err(FrameError),
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], FrameError> {
    bytes.try_into().map_err(|_| FrameError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_have_the_documented_bytes() {
        let message = Request::Message { topic: 7, bytes: 0x0102_0304 };
        assert_eq!(message.encode(), [1, 7, 4, 3, 2, 1]);
        let fetch = Request::Fetch { digest: Digest([9; 32]), bytes_max: 0x0a0b };
        let mut expected = vec![2];
        expected.extend([9; 32]);
        expected.extend([0x0b, 0x0a, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fetch.encode(), expected);
        assert_eq!(Reply::Found(258).encode(), [2, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Reply::Refused(3).encode(), [1, 3, 0, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_read_as_a_request_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(request) = Request::decode(&bytes) {
                prop_assert_eq!(request.encode(), bytes.clone());
                prop_assert_eq!(Request::rest(bytes[0]).unwrap() + 1, bytes.len());
            }
        }

        #[test]
        fn a_request_comes_back(kind in 1..=2_u8, body in proptest::collection::vec(any::<u8>(), REQUEST_HEAD_MAX)) {
            let head = [&[kind][..], &body[..Request::rest(kind).unwrap()]].concat();
            prop_assert_eq!(Request::decode(&head).unwrap().encode(), head);
        }

        #[test]
        fn no_request_is_read_from_a_cut_or_lengthened_head(kind in 1..=2_u8, length in 0..80_usize) {
            let head = vec![kind; length];
            prop_assert_eq!(Request::decode(&head).is_ok(), length == Request::rest(kind).unwrap() + 1);
        }

        #[test]
        fn what_is_read_as_a_reply_is_written_the_same(status in 0..=9_u8, argument: u64, small: bool) {
            let argument = if small { argument % 0x2_0000 } else { argument };
            let mut head = [status; REPLY_HEAD];
            head[1..].copy_from_slice(&argument.to_le_bytes());
            if let Ok(reply) = Reply::decode(&head) {
                prop_assert_eq!(reply.encode(), head);
            } else {
                prop_assert!(status > 6 || argument > 0, "an empty argument fits every status up to 6");
            }
        }
    }
}
