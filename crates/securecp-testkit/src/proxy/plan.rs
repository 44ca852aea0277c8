use std::time::Duration;

use super::rule::{Fault, Handler, Hook, How, Point, Reply, Side};

/// Everything that the rules want of one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) early: Option<Early>,
    pub(super) handlers: Vec<Handler>,
    pub(super) answered: Vec<Hook>,
    pub(super) lose_answer: bool,
    pub(super) breaks: Vec<(Side, Point, How)>,
    pub(super) throttle: Option<u64>,
    pub(super) close_after: Option<Duration>,
    pub(super) drop_request_headers: Vec<&'static str>,
    pub(super) answer: AnswerEdits,
}

/// What ends a request before the registry hears of it.
#[derive(Debug)]
pub(super) enum Early {
    Answer(Reply),
    AnswerUnread(Reply),
    Reset,
}

/// Changes to the registry's answer.
#[derive(Debug, Default)]
pub(super) struct AnswerEdits {
    pub(super) drop_headers: Vec<&'static str>,
    pub(super) set_headers: Vec<(&'static str, String)>,
    pub(super) status: Option<u16>,
    pub(super) shorten: u64,
    pub(super) lengthen: Vec<u8>,
    pub(super) hide_length: bool,
}

impl Plan {
    pub(super) fn add(&mut self, fault: Fault) {
        match fault {
            Fault::Answer(reply) => self.end_early(Early::Answer(reply)),
            Fault::AnswerEarly(reply) => self.end_early(Early::AnswerUnread(reply)),
            Fault::Reset => self.end_early(Early::Reset),
            Fault::Handle(handler) => self.handlers.push(handler),
            Fault::Answered(hook) => self.answered.push(hook),
            Fault::LoseAnswer => self.lose_answer = true,
            Fault::Break(side, point, how) => self.breaks.push((side, point, how)),
            Fault::Delay(delay) => self.delay += delay,
            Fault::Throttle(rate) => self.throttle = Some(rate),
            Fault::CloseAfter(pause) => self.close_after = Some(pause),
            Fault::DropRequestHeader(name) => self.drop_request_headers.push(name),
            other => self.answer.add(other),
        }
    }

    /// The places on one side where something happens, in order, for a body of that length.
    pub(super) fn breaks(&self, side: Side, length: Option<u64>) -> Vec<(u64, How)> {
        let place = |point: Point| match point {
            Point::Bytes(bytes) => bytes,
            Point::Percent(percent) => {
                let share = u128::from(length.unwrap_or_default()) * u128::from(percent) / 100;
                u64::try_from(share).unwrap_or(u64::MAX)
            }
        };
        let here = self.breaks.iter().filter(|(s, ..)| *s == side);
        let mut places: Vec<(u64, How)> =
            here.map(|(_, point, how)| (place(*point), *how)).collect();
        places.sort_by_key(|(place, _)| *place);
        places
    }

    fn end_early(&mut self, early: Early) {
        self.early.get_or_insert(early);
    }
}

impl AnswerEdits {
    fn add(&mut self, fault: Fault) {
        match fault {
            Fault::DropResponseHeader(name) => self.drop_headers.push(name),
            Fault::SetResponseHeader(name, value) => self.set_headers.push((name, value)),
            Fault::Status(status) => self.status = Some(status),
            Fault::Shorten(bytes) => self.shorten += bytes,
            Fault::Lengthen(bytes) => self.lengthen.extend(bytes),
            Fault::HideLength => self.hide_length = true,
            // Everything else was taken by the plan.
            _ => {}
        }
    }
}
