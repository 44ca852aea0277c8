//! Whole-process benchmark: securecp beside each peer, and beside what single kernels cost on the same machine in the
//! same run. `bench/run` builds and starts it. Everything happens on loopback and below one folder, which is removed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports to people")]

mod arguments;
mod data;
mod jobs;
mod kernels;
mod lab;
mod measure;
mod raw;
mod report;
mod tools;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arguments::{Arguments, USAGE};
use crate::data::Sizes;
use crate::jobs::{JOBS, Job, Step};
use crate::lab::Lab;
use crate::measure::Cost;
use crate::report::{Outcome, Report, Runs};
use crate::tools::{Kind, Place, Tool};

fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.help {
        print!("{USAGE}");
        return Ok(());
    }
    if arguments.list {
        for job in JOBS {
            println!("{:<20} {}{}", job.name, job.what, if job.apart { " (apart)" } else { "" });
        }
        return Ok(());
    }
    match &arguments.data {
        Some(folder) => {
            let result = measure_all(&arguments, folder);
            if !arguments.keep {
                fs::remove_dir_all(folder)?;
            }
            result
        }
        None => measure_all(&arguments, tempfile::tempdir_in("target")?.path()),
    }
}

fn measure_all(arguments: &Arguments, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let mut tools = Tool::find_all();
    if arguments.alone {
        tools.truncate(1);
    }
    ensure!(
        tools.first().is_some_and(|tool| tool.kind == Kind::Securecp),
        "SECURECP names no program"
    );
    let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
    let mut lab = Lab::new(&folder, sizes, tools)?;
    let chosen: Vec<&Job> = JOBS.iter().filter(|job| is_chosen(job, &arguments.jobs)).collect();
    ensure!(!chosen.is_empty(), "no job has such a name");
    let apart = chosen.iter().all(|job| job.apart);
    ensure!(
        !arguments.store || apart || chosen.iter().all(|job| !job.apart),
        "jobs that stand apart are stored apart"
    );
    let mut outcomes = Vec::new();
    for job in chosen {
        outcomes.push(measure(&mut lab, job, arguments.rounds));
    }
    let (layers, compressed, plain) = (lab.sizes.layers, lab.real.compressed, lab.real.plain);
    let data = format!(
        "An image of {layers} gzip layers, {} MB compressed and {} MB plain, of the machine's own files",
        compressed / 1_000_000,
        plain / 1_000_000
    );
    let report = Report {
        kernels: &lab.kernels,
        tools: &lab.tools,
        data,
        rounds: arguments.rounds,
        apart,
        outcomes,
    };
    println!("{}", report.markdown());
    fs::write("target/bench.json", format!("{:#}\n", report.json()))?;
    if arguments.store {
        report.store(Path::new("docs"))?;
    }
    Ok(())
}

fn is_chosen(job: &Job, words: &[String]) -> bool {
    if words.is_empty() {
        !job.apart
    } else {
        words.iter().any(|word| job.name.contains(word.as_str()))
    }
}

/// All rounds of one job; the tools take turns, so that what else the machine does meets all of them. What cannot be
/// measured is a note with the reason.
fn measure(lab: &mut Lab, job: &Job, rounds: usize) -> Outcome {
    eprintln!("{}", job.name);
    let mut notes = Vec::new();
    let floor = (job.floor)(lab).unwrap_or_else(|error| {
        notes.push(format!("floor: {}", first_line(&error)));
        jobs::Floor::default()
    });
    let mut runs: Vec<Runs> = Vec::new();
    for tool in lab.tools.iter().cycle().take(rounds * lab.tools.len()).cloned().collect::<Vec<_>>()
    {
        if is_enough(&runs, tool.kind)
            || notes.iter().any(|note| note.starts_with(&tool.kind.to_string()))
        {
            continue;
        }
        if let Err(error) = turn(lab, job, &tool, &mut runs) {
            eprintln!("  {} failed: {error:#}", tool.kind);
            notes.push(format!("{}: {}", tool.kind, first_line(&error)));
        }
    }
    Outcome { job: job.name, what: job.what, floor, runs, notes }
}

/// One run says enough of what takes so long.
const LONG_SECONDS: f64 = 20.0;

fn is_enough(runs: &[Runs], tool: Kind) -> bool {
    let costs = runs.iter().filter(|runs| runs.tool == tool).flat_map(|runs| &runs.costs);
    costs.into_iter().any(|cost| cost.wall > LONG_SECONDS)
}

/// One run of one tool, if it can do the job at all.
fn turn(lab: &mut Lab, job: &Job, tool: &Tool, all: &mut Vec<Runs>) -> Result<()> {
    let step = (job.setup)(lab)?;
    let Some(command) = step.command(tool) else { return Ok(()) };
    let (cost, requests, bytes) = once(lab, &step, &command)?;
    let Cost { wall, cpu, memory_mib } = cost;
    eprintln!(
        "  {:<8} {wall:.3} s, CPU {cpu:.2} s, {memory_mib:.0} MiB, {requests} requests",
        tool.kind
    );
    let known = all.iter().position(|runs| runs.tool == tool.kind);
    let place = known.unwrap_or_else(|| {
        all.push(Runs { tool: tool.kind, costs: Vec::new(), requests, bytes });
        all.len() - 1
    });
    all[place].costs.push(cost);
    Ok(())
}

fn first_line(error: &anyhow::Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .replace('|', "/")
        .chars()
        .take(200)
        .collect()
}

/// One run, after everything that was written before is on the disk.
fn once(lab: &Lab, step: &Step, command: &[String]) -> Result<(Cost, usize, Option<u64>)> {
    Command::new("sync").status().context("sync")?;
    let before = lab.requests();
    let cost = measure::run(command, &lab.folder)?;
    let requests = lab.requests() - before;
    let bytes = match step {
        Step::Copy(tools::Task { to: Place::Oci(folder) | Place::Dir(folder), .. }) => {
            Some(size_of(folder)?)
        }
        _ => None,
    };
    Ok((cost, requests, bytes))
}

fn size_of(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}
