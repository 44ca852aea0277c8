//! Whole-process benchmark: securecp beside each peer, and beside what single kernels cost on the same machine in the
//! same run. `bench/run` builds and starts it. Everything happens on loopback and below one folder, which is removed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports to people")]

mod arguments;
mod data;
mod jobs;
mod kernels;
mod lab;
mod measure;
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
    let tools = Tool::find_all();
    ensure!(
        tools.first().is_some_and(|tool| tool.kind == Kind::Securecp),
        "SECURECP names no program"
    );
    let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
    let mut lab = Lab::new(&folder, sizes, tools)?;
    let chosen: Vec<&Job> = JOBS.iter().filter(|job| is_chosen(job, &arguments.jobs)).collect();
    ensure!(!chosen.is_empty(), "no job has such a name");
    let mut outcomes = Vec::new();
    for job in chosen {
        outcomes
            .push(measure(&mut lab, job, arguments.rounds).with_context(|| job.name.to_owned())?);
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

/// All rounds of one job; the tools take turns, so that what else the machine does meets all of them.
fn measure(lab: &mut Lab, job: &Job, rounds: usize) -> Result<Outcome> {
    eprintln!("{}", job.name);
    let mut outcome = Outcome {
        job: job.name,
        what: job.what,
        floor: (job.floor)(lab)?,
        runs: Vec::new(),
        skipped: None,
    };
    for round in 0..rounds {
        for tool in lab.tools.clone() {
            let step = (job.setup)(lab)?;
            let Some(command) = step.command(&tool) else { continue };
            match once(lab, &step, &command) {
                Ok((cost, requests, bytes)) => {
                    eprintln!(
                        "  {:<8} {:.3} s, CPU {:.2} s, {:.0} MiB",
                        tool.kind, cost.wall, cost.cpu, cost.memory_mib
                    );
                    add(&mut outcome.runs, tool.kind, |runs| {
                        runs.costs.push(cost);
                        (runs.requests, runs.bytes) = (requests, bytes);
                    });
                }
                Err(error) if round == 0 => {
                    eprintln!("  {} failed: {error:#}", tool.kind);
                    let note = format!("{} failed: {}", tool.kind, first_line(&error));
                    outcome.skipped =
                        Some(outcome.skipped.map_or(note.clone(), |old| format!("{old}; {note}")));
                }
                Err(error) => return Err(error),
            }
        }
        outcome.runs.retain(|runs| runs.costs.len() > round);
    }
    Ok(outcome)
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

fn add(all: &mut Vec<Runs>, tool: Kind, change: impl FnOnce(&mut Runs)) {
    if let Some(runs) = all.iter_mut().find(|runs| runs.tool == tool) {
        return change(runs);
    }
    let mut runs = Runs { tool, costs: Vec::new(), requests: 0, bytes: None };
    change(&mut runs);
    all.push(runs);
}

/// One run, after everything that was written before is on the disk.
fn once(lab: &Lab, step: &Step, command: &[String]) -> Result<(measure::Cost, usize, Option<u64>)> {
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
