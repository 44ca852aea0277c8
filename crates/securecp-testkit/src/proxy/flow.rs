use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Shared;
use super::rule::How;

const GLANCE: Duration = Duration::from_millis(20);

/// Why a connection does not go on.
#[derive(Debug)]
pub(super) enum Cut {
    Reset,
    Close,
}

impl From<io::Error> for Cut {
    /// A peer that broke off is passed on to the other one as a reset.
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

/// One body on its way, with the places where something happens to it.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    pub(super) shared: &'a Shared,
    pub(super) client: &'a TcpStream,
    pub(super) breaks: Vec<(u64, How)>,
    pub(super) throttle: Option<u64>,
    pub(super) position: u64,
    pub(super) started: Instant,
}

impl Flow<'_> {
    /// What happens before the first byte.
    pub(super) fn begin(&mut self) -> Result<(), Cut> {
        self.meet()
    }

    /// Moves one piece on.
    pub(super) fn pass(
        &mut self,
        mut piece: &mut [u8],
        write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Cut> {
        self.flip(piece);
        while let Some(room) = self.room(piece.len()) {
            let (now, later) = std::mem::take(&mut piece).split_at_mut(room);
            self.write(now, write)?;
            self.meet()?;
            piece = later;
        }
        self.write(piece, write)
    }

    fn write(
        &mut self,
        piece: &[u8],
        write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Cut> {
        if !piece.is_empty() {
            write(piece)?;
            self.position += piece.len() as u64;
            self.wait_for_rate();
        }
        Ok(())
    }

    /// Bytes up to the next break, if it lies within `length`.
    fn room(&self, length: usize) -> Option<usize> {
        let (place, how) = self.breaks.first()?;
        if *how == How::Flip {
            // Nothing breaks there; the byte is altered when it comes by.
            return None;
        }
        let room = usize::try_from(place.saturating_sub(self.position)).ok()?;
        (room <= length).then_some(room)
    }

    fn flip(&mut self, piece: &mut [u8]) {
        let start = self.position;
        self.breaks.retain(|(place, how)| {
            let offset = place.checked_sub(start).and_then(|o| usize::try_from(o).ok());
            let byte = offset.and_then(|offset| piece.get_mut(offset));
            match (how, byte) {
                (How::Flip, Some(byte)) => {
                    *byte ^= 1;
                    false
                }
                _ => true,
            }
        });
    }

    /// Does what is due at the position reached.
    fn meet(&mut self) -> Result<(), Cut> {
        while let Some((place, how)) = self.breaks.first().copied() {
            if place > self.position || how == How::Flip {
                break;
            }
            self.breaks.remove(0);
            match how {
                How::Reset => return Err(Cut::Reset),
                How::Close => return Err(Cut::Close),
                How::Stall => {
                    self.stall();
                    return Err(Cut::Close);
                }
                How::Flip => {}
            }
        }
        Ok(())
    }

    /// Waits until the client is gone or the proxy ends.
    fn stall(&self) {
        // Without a limit on peeking, a client that is gone would not be noticed; if it cannot be set, give up at once.
        if self.client.set_read_timeout(Some(GLANCE)).is_err() {
            return;
        }
        let mut byte = [0];
        while !self.shared.is_down() {
            match self.client.peek(&mut byte) {
                Ok(0) => return,
                Ok(_) => std::thread::sleep(GLANCE),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
        }
    }

    fn wait_for_rate(&self) {
        let Some(rate) = self.throttle else { return };
        let due = Duration::from_secs_f64(self.position as f64 / rate.max(1) as f64);
        while !self.shared.is_down() && self.started.elapsed() < due {
            std::thread::sleep(GLANCE.min(due.saturating_sub(self.started.elapsed())));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
