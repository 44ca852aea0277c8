//! Results as text, JSON, Markdown and a picture.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::jobs::Floor;
use crate::kernels::Kernels;
use crate::measure::{Cost, median};
use crate::tools::{Kind, Tool};

/// The runs of one tool in one job.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) tool: Kind,
    pub(crate) costs: Vec<Cost>,
    pub(crate) requests: usize,
    /// Bytes at the destination, if that is a folder.
    pub(crate) bytes: Option<u64>,
}

/// One job with every tool that can do it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) job: &'static str,
    pub(crate) what: &'static str,
    pub(crate) floor: Floor,
    pub(crate) runs: Vec<Runs>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

/// What the medians of a job say.
struct Summary {
    ours: Cost,
    /// The fastest peer.
    peer: Option<(Kind, Cost)>,
}

impl Outcome {
    fn summary(&self) -> Option<Summary> {
        let medians = |runs: &Runs| Some((runs.tool, median(&runs.costs)?));
        let all: Vec<(Kind, Cost)> = self.runs.iter().filter_map(medians).collect();
        let ours = all.iter().find(|(kind, _)| *kind == Kind::Securecp)?.1;
        let peers = all.into_iter().filter(|(kind, _)| *kind != Kind::Securecp);
        let peer = peers.min_by(|a, b| a.1.wall.total_cmp(&b.1.wall));
        Some(Summary { ours, peer })
    }

    fn runs_of(&self, kind: Kind) -> Option<&Runs> {
        self.runs.iter().find(|runs| runs.tool == kind)
    }
}

/// Everything that one call of the benchmark found.
pub(crate) struct Report<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) tools: &'a [Tool],
    pub(crate) data: String,
    pub(crate) rounds: usize,
    /// Whether these are the jobs that are run only when named.
    pub(crate) apart: bool,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report<'_> {
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let tools: Vec<String> =
            self.tools.iter().map(|t| format!("{} ({})", t.kind, t.version)).collect();
        let _ = writeln!(
            text,
            "{}. Tools: {}. Medians of {} interleaved runs of whole processes.\n",
            self.data,
            tools.join(", "),
            self.rounds
        );
        text += "| job | securecp wall s / CPU s / MiB | requests | best peer wall s / CPU s / MiB | requests | wall ÷ peer | CPU ÷ floor | wall ÷ floor |\n";
        text += "|---|---|---|---|---|---|---|---|\n";
        for outcome in &self.outcomes {
            text += &row(outcome);
        }
        for outcome in &self.outcomes {
            for note in &outcome.notes {
                let _ = writeln!(text, "\n{}: {note}", outcome.job);
            }
        }
        if self.apart {
            return text;
        }
        text += "\nKernels, each alone on one core:\n\n| kernel | MB per CPU second |\n|---|---|\n";
        for (name, seconds) in self.kernels.named() {
            let _ = writeln!(text, "| {name} | {:.0} |", 1e-6 / seconds);
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let kernels: serde_json::Map<String, Value> = self
            .kernels
            .named()
            .iter()
            .map(|(name, s)| ((*name).to_owned(), json!(1e-6 / s)))
            .collect();
        let tools: Vec<Value> = self
            .tools
            .iter()
            .map(|t| json!({"tool": t.kind.to_string(), "version": t.version}))
            .collect();
        let jobs: Vec<Value> = self.outcomes.iter().map(job_json).collect();
        json!({"data": self.data, "rounds": self.rounds, "tools": tools, "kernelsMBPerCpuSecond": kernels, "jobs": jobs})
    }

    /// Wall time of each job beside the fastest peer's, as bars.
    pub(crate) fn svg(&self) -> String {
        let bars: Vec<(&str, Kind, f64)> = self
            .outcomes
            .iter()
            .filter_map(|outcome| {
                let Summary { ours, peer } = outcome.summary()?;
                let (kind, peer) = peer?;
                Some((outcome.job, kind, ours.wall / peer.wall))
            })
            .collect();
        let height = 50 + 24 * bars.len();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"720\" height=\"{height}\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\" font-weight=\"bold\">Wall time of securecp; 1 is the fastest peer (shorter is better)</text>\n"
        );
        for (line, (job, kind, ratio)) in bars.iter().enumerate() {
            let y = 36 + 24 * line;
            let width = (ratio.min(1.25) * 400.0).max(1.0);
            let colour = if *ratio <= 1.0 { "#2a7f62" } else { "#b5523b" };
            let _ = writeln!(
                text,
                "<text x=\"10\" y=\"{}\">{job}</text><rect x=\"160\" y=\"{y}\" width=\"{width:.0}\" height=\"16\" fill=\"{colour}\"/>\
                 <text x=\"{:.0}\" y=\"{}\">{ratio:.2} of {kind}</text>",
                y + 13,
                166.0 + width,
                y + 13
            );
        }
        let _ = writeln!(
            text,
            "<line x1=\"560\" y1=\"30\" x2=\"560\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"4\"/>\n</svg>",
            height - 10
        );
        text
    }

    /// Puts the results where the documentation shows them.
    pub(crate) fn store(&self, docs: &Path) -> Result<()> {
        let page = docs.join("performance.md");
        let text = fs::read_to_string(&page).context("docs/performance.md")?;
        let name = if self.apart { "bench/run apart" } else { "bench/run" };
        fs::write(&page, between_marks(&text, name, &self.markdown())?)?;
        let json = if self.apart { "performance-apart.json" } else { "performance.json" };
        fs::write(docs.join(json), format!("{:#}\n", self.json()))?;
        if !self.apart {
            fs::write(docs.join("performance.svg"), self.svg())?;
        }
        Ok(())
    }
}

fn between_marks(page: &str, name: &str, table: &str) -> Result<String> {
    let [begin, end] = ["begins", "ends"].map(|what| format!("<!-- {name} {what} -->\n"));
    let parts =
        page.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = parts.context("docs/performance.md has no place for the results")?;
    Ok(format!("{head}{begin}\n{table}\n{end}{tail}"))
}

fn row(outcome: &Outcome) -> String {
    let Some(Summary { ours, peer }) = outcome.summary() else {
        let why = outcome.notes.join("; ");
        return format!("| {}: {} | not run: {why} | | | | | | |\n", outcome.job, outcome.what);
    };
    let show = |cost: Cost| format!("{:.3} / {:.2} / {:.0}", cost.wall, cost.cpu, cost.memory_mib);
    let count = |kind| outcome.runs_of(kind).map_or(0, |runs| runs.requests);
    let size = |kind| {
        let bytes = outcome.runs_of(kind).and_then(|runs| runs.bytes);
        bytes.map_or(String::new(), |bytes| format!(", {:.1} MB", bytes as f64 / 1e6))
    };
    let requests = |kind| if count(kind) > 0 { count(kind).to_string() } else { String::new() };
    let over = |part: f64, floor: f64| {
        if floor > 0.0 { format!("{:.2}", part / floor) } else { String::new() }
    };
    let (shown, asked, ratio) = match peer {
        Some((kind, cost)) => (
            format!("{kind} {}{}", show(cost), size(kind)),
            requests(kind),
            format!("{:.2}", ours.wall / cost.wall),
        ),
        None => (String::new(), String::new(), String::new()),
    };
    format!(
        "| {}: {} | {}{} | {} | {shown} | {asked} | {ratio} | {} | {} |\n",
        outcome.job,
        outcome.what,
        show(ours),
        size(Kind::Securecp),
        requests(Kind::Securecp),
        over(ours.cpu, outcome.floor.cpu),
        over(ours.wall, wall_floor(&outcome.floor)),
    )
}

/// What the registry needs, or the kernels on all cores, whichever is more.
fn wall_floor(floor: &Floor) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    floor.wall.unwrap_or_default().max(floor.cpu / cores)
}

fn job_json(outcome: &Outcome) -> Value {
    let runs: Vec<Value> = outcome.runs.iter().map(|runs| {
        let costs: Vec<Value> = runs.costs.iter().map(|c| json!({"wall": c.wall, "cpu": c.cpu, "memoryMiB": c.memory_mib})).collect();
        json!({"tool": runs.tool.to_string(), "runs": costs, "requests": runs.requests, "bytes": runs.bytes})
    }).collect();
    json!({"job": outcome.job, "what": outcome.what, "floorCpu": outcome.floor.cpu, "floorWall": outcome.floor.wall,
        "tools": runs, "notes": outcome.notes})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ours: f64, peers: &[(Kind, f64)]) -> Outcome {
        let runs = |tool, wall| Runs {
            tool,
            costs: vec![Cost { wall, cpu: wall, memory_mib: 9.0 }],
            requests: 0,
            bytes: None,
        };
        let all = [(Kind::Securecp, ours)].iter().chain(peers).map(|(k, w)| runs(*k, *w)).collect();
        let floor = Floor { cpu: 1.0, wall: None };
        Outcome { job: "j", what: "w", floor, runs: all, notes: Vec::new() }
    }

    #[test]
    fn compares_with_the_fastest_peer() {
        let row = row(&outcome(1.0, &[(Kind::Skopeo, 4.0), (Kind::Crane, 2.0)]));
        assert!(row.contains("crane 2.000 / 2.00 / 9") && row.contains("| 0.50 | 1.00 |"), "{row}");
    }

    #[test]
    fn says_what_was_not_run() {
        let missing =
            Outcome { runs: Vec::new(), notes: vec!["why".to_owned()], ..outcome(1.0, &[]) };
        assert!(row(&missing).contains("not run: why"));
    }

    #[test]
    fn replaces_only_what_is_between_the_marks() {
        let page = |one: &str, other: &str| {
            let of = |name, text| format!("<!-- {name} begins -->\n{text}<!-- {name} ends -->\n");
            format!("a\n{}b\n{}", of("bench/run", one), of("bench/run apart", other))
        };
        let (old, new) = (page("old\n", "old\n"), "\nnew\n\n");
        assert_eq!(between_marks(&old, "bench/run", "new\n").unwrap(), page(new, "old\n"));
        assert_eq!(between_marks(&old, "bench/run apart", "new\n").unwrap(), page("old\n", new));
        assert!(between_marks("a", "bench/run", "new").is_err());
    }
}
