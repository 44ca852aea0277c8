use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// What one run of a process took, its children included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) memory_mib: f64,
}

/// Runs `command` under GNU time. A process that fails is an error: its time would say nothing.
pub(crate) fn run(command: &[String], home: &Path) -> Result<Cost> {
    let report = home.join("time");
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%U %S %M", "-o"]).arg(&report).args(command);
    timed.env("HOME", home).env("GNUPGHOME", home.join("gnupg")).env_remove("XDG_CACHE_HOME");
    let start = Instant::now();
    let output = timed.stdin(Stdio::null()).output().context("starting GNU time")?;
    let wall = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let program = Path::new(&command[0]).file_name().unwrap_or_default();
        bail!("{} failed: {}", program.to_string_lossy(), said.trim());
    }
    let text = fs::read_to_string(&report)?;
    parse(wall, &text).with_context(|| format!("what GNU time wrote: {text:?}"))
}

fn parse(wall: f64, text: &str) -> Result<Cost> {
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(numbers.len() == 3, "expected three numbers");
    Ok(Cost { wall, cpu: numbers[0] + numbers[1], memory_mib: numbers[2] / 1024.0 })
}

/// The median of each part.
pub(crate) fn median(costs: &[Cost]) -> Option<Cost> {
    let middle = |part: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        let (lower, upper) =
            (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
        Some((lower + upper) / 2.0)
    };
    Some(Cost {
        wall: middle(|c| c.wall)?,
        cpu: middle(|c| c.cpu)?,
        memory_mib: middle(|c| c.memory_mib)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gnu_time_writes() {
        let cost = parse(1.5, "0.25 0.50 2048\n").unwrap();
        assert_eq!(cost, Cost { wall: 1.5, cpu: 0.75, memory_mib: 2.0 });
        assert!(parse(1.0, "Command exited with non-zero status 1\n0.0 0.0").is_err());
    }

    #[test]
    fn takes_the_middle_of_each_part() {
        let cost = |n: f64| Cost { wall: n, cpu: 10.0 - n, memory_mib: n };
        assert_eq!(median(&[cost(3.0), cost(1.0), cost(2.0)]), Some(cost(2.0)));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_process_that_fails_has_no_cost() {
        let home = tempfile::tempdir().unwrap();
        assert!(run(&["false".to_owned()], home.path()).is_err());
        assert!(run(&["true".to_owned()], home.path()).unwrap().wall > 0.0);
    }
}
