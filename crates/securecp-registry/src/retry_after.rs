//! The `Retry-After` header (RFC 9110 section 10.2.3): seconds, or a date in one of three forms.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest time that a server can make us wait at once.
const LONGEST: Duration = Duration::from_secs(300);

/// The time to wait from now; never longer than five minutes. A date counts from the answer's own `answered`: the
/// server's clock need not be ours.
pub(crate) fn parse(text: &str, answered: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    let answered = || answered.and_then(|text| date(text.trim())).unwrap_or_else(SystemTime::now);
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(date(text)?, answered()),
    };
    Some(wait.min(LONGEST))
}

fn until(moment: SystemTime, now: SystemTime) -> Duration {
    moment.duration_since(now).unwrap_or_default()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form that servers must send; the two obsolete forms are not worth their code.
fn date(text: &str) -> Option<SystemTime> {
    let rest = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let [day, month, year, time] = fields(rest, ' ')?;
    let [hours, minutes, seconds] = fields(time, ':')?;
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as u64 + 1;
    let days = days_since_epoch(number(year, 4)?, month, number(day, 2)?)?;
    let time = number(hours, 2)? * 3600 + number(minutes, 2)? * 60 + number(seconds, 2)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + time))
}

fn fields<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// Days of the Gregorian calendar, counted with years that begin in March so that a leap day comes last.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leap_days = (year / 4 + year / 400).checked_sub(year / 100)?;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day.checked_sub(1)?;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates() {
        let seconds = |text| date(text).map(|d| d.duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Tue, 29 Feb 2028 23:59:59 GMT"), Some(1_835_481_599));
        for text in
            ["", "soon", "Sun, 06 Nov 1994", "Sun, 06 Foo 1994 08:49:37 GMT", "x, 0 Jan 0 : : GMT"]
        {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn reads_seconds_and_bounds_them() {
        assert_eq!(parse("7", None), Some(Duration::from_secs(7)));
        assert_eq!(parse("99999999999", None), Some(LONGEST));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(Duration::ZERO));
        assert_eq!(parse("-1", None), None);
    }

    #[test]
    fn a_date_counts_by_the_servers_clock() {
        let wait = |answered| parse("Sun, 06 Nov 1994 08:49:37 GMT", answered);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait(Some("Sun, 06 Nov 1994 08:49:30 GMT")), seconds(7));
        assert_eq!(wait(Some("Sun, 06 Nov 1994 08:49:59 GMT")), seconds(0));
        assert_eq!(wait(Some("yesterday")), seconds(0));
    }
}
