use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg, sockopt,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use securecp_layer::Scope;

/// The longest packet, in bytes.
pub(super) const PACKET: usize = 32 << 10;
/// How often it is looked whether the program is to end.
const GLANCE: Duration = Duration::from_millis(200);

/// The socket on which the other program asks; packets keep their bounds.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// The socket that was inherited under this number.
    pub(super) fn inherited(number: i32) -> io::Result<Self> {
        let socket = match number {
            0 => io::stdin().as_fd().try_clone_to_owned()?,
            // Asked of the system by number, because a number alone is nobody's descriptor.
            _ => pidfd_getfd(
                pidfd_open(getpid(), PidfdFlags::empty())?,
                number,
                PidfdGetfdFlags::empty(),
            )?,
        };
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(GLANCE))?;
        Ok(Self(socket))
    }

    /// The next packet; `None` if the other program is gone or this one is to end.
    pub(super) fn receive(&self, scope: &Scope) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; PACKET];
        loop {
            match recv(&self.0, &mut buffer[..], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Ok(None),
                Ok((read, whole)) if whole <= PACKET => {
                    buffer.truncate(read);
                    return Ok(Some(buffer));
                }
                Ok(_) => return Err(io::Error::other("a request of more than 32 KiB")),
                Err(Errno::AGAIN | Errno::INTR) if scope.check().is_ok() => {}
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNRESET) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends a packet, and descriptors with it.
    pub(super) fn send(&self, packet: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !passed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(passed)) {
            return Err(io::Error::other("more descriptors than a reply can pass"));
        }
        sendmsg(&self.0, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}
