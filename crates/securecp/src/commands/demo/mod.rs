//! `securecp demo`: the whole job on this machine alone, told step by step.
//!
//! Every step is a command line that goes through the same parser and the same code as one that was typed. A step that
//! does not end as it should ends the demo with a failure.

mod build;
mod dispatch;
mod image;
mod seal;
mod stage;
mod tale;
mod vault;

use anyhow::Context;
use serde_json::Value;

use crate::args::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::session::Session;

use build::Builder;
use image::{write_evidence, write_image};
use stage::Stage;
use tale::{Ending, Tale};

/// Tells the story.
pub(crate) fn run(args: &DemoArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let stage = Stage::set(args.keep.as_deref(), &session.globals.tmpdir)?;
    write_image(&stage.layout(), "v1", 1).context("writing the image")?;
    write_image(&stage.layout(), "v2", 2).context("writing the image")?;
    write_image(&stage.layout(), "v3", 3).context("writing the image")?;
    write_image(&stage.attested(), "v1", 1).context("writing the image")?;
    write_evidence(&stage.attested(), 1).context("writing the evidence")?;
    write_image(&stage.built(), "v1", 1).context("writing the image")?;
    let builder = Builder::new()?;
    builder.attest(&stage.built())?;
    stage.trust_builder(&builder.public_pem()).context("writing the trust file")?;
    let mut tale = Tale::new(session);
    introduce(&mut tale, &stage)?;
    let signed = push(&mut tale, &stage)?;
    promote(&mut tale, &stage)?;
    refuse(&mut tale, &stage)?;
    pass_off(&mut tale, &stage, &signed)?;
    tamper(&mut tale, &stage)?;
    dispatch::seal_on_arrival(&mut tale, &stage)?;
    vault::lock_away(&mut tale, &stage)?;
    conclude(&mut tale, args.keep.is_some())
}

fn introduce(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<(), Failure> {
    tale.say("Two registries run on this machine, and an image of two platforms lies in an OCI layout:\n")?;
    for (name, server) in [("staging", &stage.staging), ("production", &stage.production)] {
        let root = stage.path(name);
        tale.say(&format!("    $ securecp serve --listen {server} --root {}", root.display()))?;
    }
    let policy = stage.policy();
    tale.say(&format!(
        "\nThe policy {} trusts the layout, and of staging's shop what is signed with one key:\n",
        policy.display()
    ))?;
    let text = std::fs::read_to_string(&policy).context("reading the policy back")?;
    text.lines().try_for_each(|line| tale.say(&format!("    {line}")))?;
    let trust = stage.trust();
    tale.say(&format!(
        "\nThe trust file {} knows the key of the build system:\n",
        trust.display()
    ))?;
    let text = std::fs::read_to_string(&trust).context("reading the trust file back")?;
    text.lines().try_for_each(|line| tale.say(&format!("    {line}")))
}

/// Gives the digest of the signed index.
fn push(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<String, Failure> {
    let image = stage.at_staging("shop/app:v1");
    let built = format!("oci:{}:v1", stage.built().display());
    let pushed = tale.step(
        "The image goes to staging, with both platforms and what the build system left beside it: signatures, a bill of \
         materials, a statement of where it was built, and a report that nobody signed. It is signed there with a \
         throw-away key",
        Ending::DONE,
        &signed(stage, &built, &image),
    )?;
    let look = ["verify", "--all", "--index-signature=require", "--tls-verify=false", &image];
    tale.step(
        "Would the policy let it pass? Nothing is copied by asking",
        Ending::DONE,
        &with_policy(stage, &look),
    )?;
    Ok(pushed["digest"].as_str().unwrap_or_default().to_owned())
}

fn promote(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<(), Failure> {
    let (from, to) = (stage.at_staging("shop/app:v1"), stage.at_production("shop/app:v1"));
    let trust = format!("--trust={}", stage.trust().display());
    let verified = ["--evidence=verified", &trust];
    let both = ["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to];
    let both = [&verified[..], &both[..]].concat();
    let plan = with_policy(stage, &[&["copy", "--all", "--dry-run"], &both[..]].concat());
    tale.step(
        "What would happen on the way to production? Nothing is changed by asking",
        Ending::DONE,
        &plan,
    )?;
    let first = tale.step(
        "From staging to production, with the evidence that the build system signed",
        Ending::DONE,
        &copy(stage, &both),
    )?;
    let again =
        tale.step("Once more: what is there is not sent again", Ending::DONE, &copy(stage, &both))?;
    tale.check("the second copy sent nothing", again["bytesSent"] == 0)?;
    evidence_arrived(tale, stage, &trust, [&first["evidence"], &again["evidence"]])?;
    let staged = inspect(tale, "What staging has", &from)?;
    let produced = inspect(tale, "What production has", &to)?;
    let same = staged == produced && staged == first["digest"];
    tale.check("both registries have the same digest, the one that the copy reported", same)
}

/// Three signatures, a bill of materials, its signature and a statement; the report stayed.
fn evidence_arrived(
    tale: &mut Tale<'_, '_>,
    stage: &Stage,
    trust: &str,
    [first, again]: [&Value; 2],
) -> Result<(), Failure> {
    tale.check(
        "production has the signatures, the bill of materials and the statement, under the same digests",
        first["carried"] == 6 && again["alreadyThere"] == 6,
    )?;
    let left = &first["skippedPieces"][0];
    let why = left["why"].as_str().unwrap_or_default();
    let report = first["skipped"] == 1 && left["type"] == "other";
    tale.check(
        "the report that nobody signed stayed in staging",
        report && why.starts_with("not verified"),
    )?;
    let there = stage.at_production("shop/app:v1");
    let look = ["verify", "--all", trust, "--tls-verify=false", &there];
    tale.step("Who signed what is in production now?", Ending::DONE, &with_policy(stage, &look))?;
    let look = ["copy", "--all", "--dry-run", "--evidence=verified", trust];
    let onward = ["--src-tls-verify=false", &there, &stage.onward()];
    let onward = with_policy(stage, &[&look[..], &onward[..]].concat());
    let plan = tale.step("And the evidence beside it?", Ending::DONE, &onward)?;
    let rows = plan.as_str().unwrap_or_default().lines();
    let signed: Vec<&str> = rows.filter(|row| row.contains("by builder (")).collect();
    tale.say("    Among them:")?;
    signed.iter().try_for_each(|row| tale.say(&format!("    {row}")))?;
    tale.check(
        "all six pieces are verified in production: the build system signed what is there",
        signed.len() == 6,
    )
}

fn refuse(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<(), Failure> {
    let (from, to) = (stage.at_staging("lab/tool:v1"), stage.at_production("shop/tool:v1"));
    let push = ["--dest-tls-verify=false", &stage.in_layout("v1"), &from];
    tale.step(
        "Somebody puts a tool into another corner of staging",
        Ending::DONE,
        &copy(stage, &push),
    )?;
    let both = ["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to];
    let refused = Ending::failed(Exit::Refused, "is rejected by policy");
    tale.step(
        "The policy does not know that corner: nothing of it reaches production",
        refused,
        &copy(stage, &both),
    )?;
    absent(tale, &to)?;
    let (from, to) = (stage.at_staging("shop/tool:v1"), stage.at_production("shop/tool:v1"));
    let push = ["--dest-tls-verify=false", &stage.in_layout("v1"), &from];
    tale.step(
        "The tool comes to the shop, but nobody signs it",
        Ending::DONE,
        &copy(stage, &push),
    )?;
    let both = ["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to];
    let refused = Ending::failed(Exit::Refused, "A signature was required");
    tale.step("What is not signed does not pass", refused, &copy(stage, &both))?;
    absent(tale, &to)
}

/// Another image under a signed name, with the signature of the signed image.
fn pass_off(tale: &mut Tale<'_, '_>, stage: &Stage, signed: &str) -> Result<(), Failure> {
    let (from, to) = (stage.at_staging("shop/app:v1"), stage.at_production("shop/app:latest"));
    let push = ["--dest-tls-verify=false", &stage.in_layout("v3"), &from];
    let pushed = tale.step(
        "Somebody moves staging's tag v1 to an image of their own",
        Ending::DONE,
        &copy(stage, &push),
    )?;
    let manifests = pushed["manifests"].as_array().cloned().unwrap_or_default();
    for digest in manifests.iter().filter_map(|digest| digest.as_str()) {
        stage.seal.pass_off(signed, digest).context("laying the signature beside the image")?;
    }
    tale.say("\nNow the good image's signature is laid beside it.")?;
    let both = ["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to];
    let refused = Ending::failed(Exit::Refused, "Signature for digest");
    tale.step(
        "A signature is good for the bytes that were signed, and for no others",
        refused,
        &copy(stage, &both),
    )?;
    absent(tale, &to)
}

fn tamper(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<(), Failure> {
    let (from, to) = (stage.at_staging("shop/app:v2"), stage.at_production("shop/app:v2"));
    let push = signed(stage, &stage.in_layout("v2"), &from);
    tale.step("A second version comes to staging, signed", Ending::DONE, &push)?;
    let altered = stage.alter_a_layer()?;
    tale.say(&format!("\nNow one byte of {} is altered in staging's store.", altered.display()))?;
    let both = ["--src-tls-verify=false", "--dest-tls-verify=false", &from, &to];
    let caught = Ending::failed(Exit::Failed, "Digest did not match");
    tale.step(
        "The copy notices and gives production nothing under the name",
        caught,
        &copy(stage, &both),
    )?;
    absent(tale, &to)
}

fn conclude(tale: &mut Tale<'_, '_>, kept: bool) -> Result<(), Failure> {
    tale.say("\nEverything ended as it should.")?;
    if kept {
        return tale.say("Start the two registries as shown above to repeat any of the commands.");
    }
    tale.say(
        "The files are gone; securecp demo --keep DIR leaves them, to repeat the commands by hand.",
    )
}

fn copy(stage: &Stage, rest: &[&str]) -> Vec<String> {
    with_policy(stage, &[&["copy", "--all", "--quiet", "--json"], rest].concat())
}

/// A copy to staging that signs there.
fn signed(stage: &Stage, from: &str, to: &str) -> Vec<String> {
    let key = format!("--sign-by-key-file={}", stage.seal.key().display());
    copy(stage, &["--dest-tls-verify=false", &key, from, to])
}

fn with_policy(stage: &Stage, words: &[&str]) -> Vec<String> {
    let mut line: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let options = [("--policy", stage.policy()), ("--registries.d", stage.seal.registries_d())];
    let words = options.map(|(option, path)| [option.to_owned(), path.display().to_string()]);
    line.splice(1..1, words.concat());
    line
}

/// Looks at an image and gives its digest.
fn inspect(
    tale: &mut Tale<'_, '_>,
    title: &str,
    image: &str,
) -> Result<serde_json::Value, Failure> {
    let plain_http = image.starts_with("docker:").then_some("--tls-verify=false");
    let words = ["inspect", "--override-os=linux", "--override-arch=amd64"];
    let line = words.into_iter().chain(plain_http).chain([image]).map(str::to_owned);
    let found = tale.step(title, Ending::DONE, &line.collect::<Vec<_>>())?;
    Ok(found["Digest"].clone())
}

/// A judgement that ends with a refusal for want of a signature.
fn absent_signature(tale: &mut Tale<'_, '_>, line: &[String]) -> Result<(), Failure> {
    let refused = Ending::failed(Exit::Refused, "A signature was required");
    tale.step("What is not signed does not pass here either", refused, line).map(drop)
}

fn absent(tale: &mut Tale<'_, '_>, image: &str) -> Result<(), Failure> {
    let line = ["inspect", "--tls-verify=false", image].map(str::to_owned);
    let missing = Ending::failed(Exit::NotFound, "");
    tale.step("Is it there?", missing, &line).map(drop)
}
