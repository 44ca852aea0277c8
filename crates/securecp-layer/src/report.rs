use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use securecp_oci::Descriptor;

use crate::{Layer, LayerError, Stage};

/// Names one unit of work in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub usize);

/// What happened, for people and machines that watch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The work is known: units and bytes that will move.
    Planned {
        /// Number of units of work.
        tasks: usize,
        /// Bytes to move, as far as they are known.
        bytes: u64,
    },
    /// A unit begins.
    Started {
        /// Which.
        task: TaskId,
        /// What it is, for example `blob sha256:…`.
        subject: &'a str,
        /// Bytes it will move, if known.
        size: Option<u64>,
    },
    /// A unit needs no work.
    Skipped {
        /// Which.
        task: TaskId,
        /// What it is.
        subject: &'a str,
        /// Why nothing is to be done.
        why: &'a str,
    },
    /// A unit failed and is tried again.
    Retrying {
        /// Which.
        task: TaskId,
        /// How long until the next attempt.
        after: Duration,
        /// Why.
        why: &'a str,
    },
    /// A unit is done.
    Finished {
        /// Which.
        task: TaskId,
    },
    /// Something that a person should know.
    Warning(&'a str),
}

/// Watches a run; it cannot steer it. Called from many threads.
pub trait Report: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);

    /// `count` more bytes of `task` have moved.
    fn bytes(&self, task: TaskId, count: u64);
}

/// A report that nobody reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Report for Quiet {
    fn event(&self, _: &Event<'_>) {}

    fn bytes(&self, _: TaskId, _: u64) {}
}

/// Tells a [`Report`] of every chunk that passes.
pub struct Watched<'a> {
    inner: Box<dyn Stage + 'a>,
    report: &'a dyn Report,
    task: TaskId,
}

impl<'a> Watched<'a> {
    /// Watches `layer`; what it is and what is known of it stay.
    pub fn wrap(layer: Layer<'a>, report: &'a dyn Report, task: TaskId) -> Layer<'a> {
        Layer { known: layer.known, body: Box::new(Self { inner: layer.body, report, task }) }
    }
}

impl Stage for Watched<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let next = self.inner.next()?;
        if let Some(chunk) = &next {
            self.report.bytes(self.task, chunk.len() as u64);
        }
        Ok(next)
    }

    fn measures(&self) -> bool {
        self.inner.measures()
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        self.inner.finish()
    }
}

impl fmt::Debug for Watched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("task", &self.task).finish_non_exhaustive()
    }
}
