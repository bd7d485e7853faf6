//! Values as people write them.

use std::{str::FromStr as _, time::Duration};

use sigready::{
    model::{
        signal::{Signal, UnknownSignal},
        text::Outside,
    },
    session::{Moment, Send},
    systemd::bus,
};

/// The longest time: ten years of 365 days.
const MAX_TIME: Duration = Duration::from_hours(10 * 365 * 24);

/// A signal that a process can take, by its name or number.
pub(super) fn catchable(text: &str) -> Result<Signal, String> {
    let signal = signal(text).map_err(|error| error.to_string())?;
    if signal.is_catchable() {
        return Ok(signal);
    }
    Err(format!("no process can catch, block or ignore {signal} (signal(7))"))
}

/// A signal's name or number.
pub(super) fn signal(text: &str) -> Result<Signal, UnknownSignal> {
    text.parse()
}

/// A ring buffer's size, as the kernel wants it (bpf(2): a power of two of pages).
pub(super) fn buffer(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if size.is_power_of_two() && (4..=1 << 20).contains(&size) => Ok(size),
        _ => Err("it must be a power of two from 4 to 1048576".to_owned()),
    }
}

/// A time span as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let span = jiff::SignedDuration::from_str(text).ok();
    let Some(span) = span.and_then(|span| Duration::try_from(span).ok()) else {
        let text = Outside::new(text);
        return Err(format!("'{text}' is not a time: write 50ms, 10s, 2m or '1m 30s'"));
    };
    if span > MAX_TIME {
        return Err(format!("'{}' is longer than 10 years", Outside::new(text)));
    }
    Ok(span)
}

/// The D-Bus address of a socket.
pub(super) fn bus(text: &str) -> Result<String, String> {
    match bus::check_address(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

/// How long a service has to be there after a reload.
pub(super) fn settle(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    let allowed = Duration::from_millis(1)..=Duration::from_hours(1);
    if allowed.contains(&span) { Ok(span) } else { Err("it must be from 1ms to 1h".to_owned()) }
}

/// A signal to send, and when: a time after the exec, or a moment, with or without a time after
/// that.
pub(super) fn send(text: &str) -> Result<Send, String> {
    let (signal, when) = text
        .split_once('@')
        .ok_or("say SIGNAL@WHEN, such as HUP@50ms, HUP@exec, HUP@handler+10ms or HUP@ready")?;
    let signal = signal.parse().map_err(|error: UnknownSignal| error.to_string())?;
    let (word, after) =
        when.split_once('+').map_or((when, None), |(word, time)| (word, Some(time)));
    let moment = match word {
        "exec" => Moment::Exec,
        "handler" => Moment::Handler,
        "ready" => Moment::Ready,
        time if after.is_none() => {
            return Ok(Send { signal, moment: Moment::Exec, after: duration(time)? });
        }
        word => {
            let word = Outside::new(word);
            return Err(format!(
                "'{word}' is no moment of a start: a time counts from exec, handler or ready, as \
                 in HUP@ready+2s"
            ));
        }
    };
    Ok(Send { signal, moment, after: after.map(duration).transpose()?.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_a_signal_at_a_moment() {
        let at = |text| {
            let send = send(text).unwrap();
            (send.moment, send.after)
        };
        let ms = Duration::from_millis;
        assert_eq!(at("HUP@50ms"), (Moment::Exec, ms(50)));
        assert_eq!(at("HUP@exec"), (Moment::Exec, Duration::ZERO));
        assert_eq!(at("usr1@ready"), (Moment::Ready, Duration::ZERO));
        assert_eq!(at("HUP@ready+2s"), (Moment::Ready, ms(2_000)));
        assert_eq!(at("HUP@handler+10ms"), (Moment::Handler, ms(10)));
        assert_eq!(at("HUP@exec+0"), (Moment::Exec, Duration::ZERO));
    }

    #[test]
    fn a_send_that_says_neither_time_nor_moment_is_refused_with_what_to_write() {
        for text in [
            "HUP",
            "HUP@",
            "HUP@soon",
            "HUP@-5s",
            "NOPE@1s",
            "@1s",
            "RTMIN+4294967295@1s",
            "HUP@ready+",
            "HUP@ready+soon",
            "HUP@ready-5s",
            "HUP@ready+-5s",
            "HUP@+1s",
            "HUP@1s+1s",
            "HUP@readyish+1s",
            "HUP@ready+1s+1s",
        ] {
            assert!(send(text).is_err(), "{text}");
        }
        assert!(send("HUP@redy+1s").unwrap_err().contains("HUP@ready+2s"));
        assert!(send("HUP@soon").unwrap_err().contains("50ms"));
    }

    #[test]
    fn a_buffer_is_a_power_of_two() {
        assert_eq!(buffer("4096"), Ok(4096));
        for text in ["0", "2", "5000", "-4", "many", "2097152"] {
            assert!(buffer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_settle_time_is_from_a_millisecond_to_an_hour() {
        assert_eq!(settle("2s"), Ok(Duration::from_secs(2)));
        for text in ["0", "0s", "61m", "9223372036854775807s", "soon", "-1s"] {
            assert!(settle(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("fast").is_err());
    }

    #[test]
    fn a_time_is_ten_years_at_the_longest() {
        assert_eq!(duration("87600h"), Ok(MAX_TIME));
        let long = "9223372036854775807s";
        for text in ["87600h 1ns", long] {
            assert!(duration(text).unwrap_err().contains("longer than 10 years"), "{text}");
            assert!(send(&format!("HUP@{text}")).is_err(), "{text}");
            assert!(send(&format!("HUP@ready+{text}")).is_err(), "{text}");
        }
    }
}
