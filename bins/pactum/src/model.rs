//! `pactum model`: what a model is, what it costs, and whether it fits.

mod device;

use std::path::Path;

use clap::Subcommand;
use pactum_cli::{Failure, available_memory, output};
use pactum_learner::{InnerConfig, LearnerConfig};
use pactum_model::{ModelConfig, Plan, bytes_text, inspect_hf};
use pactum_node::{Device, model_config};
use pactum_protocol::Hparams;

use crate::checkpoint::parse_bytes;

/// Numbers of sequences at once for which memory is shown.
const ROWS: [usize; 4] = [1, 4, 16, 64];

/// Shows what a model costs and whether training it fits into memory, before anything is allocated.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples: pactum model show
          pactum model show mini
          pactum model plan 150m --batch 8 --sequence 1024 --memory 16GB
          pactum model plan 1b --batch 8 --device cuda --memory 80GB")]
pub(crate) enum Args {
    /// Shows a model's shape, parameters, work per token and memory; without a name, all presets in short
    #[command(after_help = "Example: pactum model show mini")]
    Show {
        /// A preset, or a folder with a model in Hugging Face's layout
        #[arg(value_name = "PRESET|DIR")]
        model: Option<String>,
    },
    /// Says whether training fits into memory and the largest batch that does; exit code 1 if nothing fits
    #[command(after_help = "Example: pactum model plan 150m --batch 8 --sequence 1024 --memory 16GB")]
    Plan(PlanArgs),
}

/// What to plan for.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// A preset, or a folder with a model in Hugging Face's layout
    #[arg(value_name = "PRESET|DIR")]
    model: String,
    /// Sequences in a step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Tokens in a sequence [default: the model's context]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    sequence: Option<u32>,
    /// Where the training step is made; all but the processor need a program built with the feature `cuda`
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Memory to fit into, such as 16GB: the device's, if one is named [default: what this machine has left]
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Show { model: None } => list(),
        Args::Show { model: Some(name) } => show(name),
        Args::Plan(args) => plan(args),
    }
}

fn list() -> Result<(), Failure> {
    output("preset   parameters  layers   width   heads  context  FLOP per token  memory to train, 1 row")?;
    for name in ModelConfig::PRESETS {
        let config = resolve(name)?;
        let plan = config.plan(1)?;
        let heads = format!("{}/{}", config.heads, config.kv_heads);
        output(format!(
            "{name:<8} {:>10} {:>7} {:>7} {heads:>7} {:>8} {:>15} {:>23}",
            count_text(plan.parameters),
            config.layers,
            config.width,
            config.context,
            count_text(plan.train_flops()),
            bytes_text(plan.train_bytes()),
        ))?;
    }
    Ok(())
}

fn show(name: &str) -> Result<(), Failure> {
    let config = resolve(name)?;
    output(shape(name, &config))?;
    output(config.plan(1)?)?;
    let plans = ROWS.iter().map(|&rows| config.plan(rows)).collect::<Result<Vec<Plan>, _>>()?;
    let line = |title: &str, value: &dyn Fn(&Plan) -> String| {
        plans.iter().fold(format!("{title:<18}"), |line, plan| format!("{line}{:>11}", value(plan)))
    };
    output(line("rows at once", &|plan| plan.rows.to_string()))?;
    output(line("  training", &|plan| bytes_text(plan.train_bytes())))?;
    output(line("  if recomputing", &|plan| bytes_text(plan.recomputing_bytes())))?;
    output(line("  generating", &|plan| bytes_text(plan.inference_bytes())))
}

fn plan(args: &PlanArgs) -> Result<(), Failure> {
    let mut config = resolve(&args.model)?;
    config.context = args.sequence.map_or(Ok(config.context), usize::try_from)?;
    let batch = usize::try_from(args.batch)?;
    if args.device != Device::Cpu {
        output(shape(&args.model, &config))?;
        return device::plan(&config, batch, args.memory);
    }
    let step = config.plan(batch)?;
    let inner = InnerConfig { batch, ..InnerConfig::default() };
    let learner = LearnerConfig { model: config.clone(), inner, ..LearnerConfig::default() }.memory()?;
    output(shape(&args.model, &config))?;
    output(&step)?;
    output(&learner)?;
    let Some(available) = args.memory.or_else(available_memory) else {
        return output("this system does not tell how much memory it has left: name it by --memory");
    };
    output(format!("memory to fit into{:>11}", bytes_text(available)))?;
    let verdict = |bytes: u64| if bytes <= available { "fits" } else { "does not fit" };
    for (what, bytes) in [
        ("the training step", step.train_bytes()),
        ("the training step, recomputing", step.recomputing_bytes()),
        ("the training step, moments on disk", step.streamed_bytes()),
        ("pactum train", learner.alone_bytes()),
        ("a miner of a network", learner.network_bytes()),
        ("pactum train --offload", learner.offloaded_bytes()),
        ("a miner with --offload", learner.offloaded_network_bytes()),
        ("a validator of a network", learner.validator_bytes()),
    ] {
        output(format!("  {what:<36}{:>10}  {}", bytes_text(bytes), verdict(bytes)))?;
    }
    for (what, bytes) in [
        ("largest batch in one pass", Plan::train_bytes as fn(&Plan) -> u64),
        ("  if recomputing", Plan::recomputing_bytes),
    ] {
        let largest = largest(&config, |rows| Ok(bytes(&config.plan(rows)?) <= available))?;
        output(format!("{what}: {largest}"))?;
    }
    if step.recomputing_bytes().min(step.streamed_bytes()) > available {
        return Err(Failure::new("nothing fits: choose a smaller model, batch or sequence, or another machine"));
    }
    Ok(())
}

/// The most sequences at once that fit.
fn largest(config: &ModelConfig, fits: impl Fn(usize) -> Result<bool, Failure>) -> Result<String, Failure> {
    let (mut good, mut bad) = (0, (1 << 28) / config.context + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle)? { good = middle } else { bad = middle }
    }
    Ok(if good == 0 { "none".to_owned() } else { format!("{good} sequences of {} tokens", config.context) })
}

/// A preset of the model library, one of the network's settings, or what a folder's configuration says.
fn resolve(name: &str) -> Result<ModelConfig, Failure> {
    let known = ModelConfig::preset(name).or_else(|| Hparams::preset(name).map(|hparams| model_config(&hparams.model)));
    match known {
        Some(config) => Ok(config),
        None if Path::new(name).is_dir() => Ok(inspect_hf(Path::new(name))?.config),
        None => Err(Failure::usage(format!(
            "{name:?} is neither a folder nor a preset; the presets are {}",
            ModelConfig::PRESETS.join(", ")
        ))),
    }
}

fn shape(name: &str, config: &ModelConfig) -> String {
    let ModelConfig { vocab, width, layers, heads, kv_heads, ffn, context, .. } = config;
    let head = if config.tied { "tied" } else { "untied" };
    let mut lines = vec![
        ("model", name.to_owned()),
        ("blocks", format!("{layers} of width {width}, feed-forward {ffn}")),
        ("heads", format!("{heads} of width {}, {kv_heads} of keys and values", config.head_width())),
        ("vocabulary", format!("{vocab}, {head} head")),
        ("context", format!("{context} tokens, rotary base {}", config.rope_base)),
    ];
    if let Some(scaling) = &config.rope_scaling {
        lines.push(("", format!("stretched {} times from {} tokens", scaling.factor, scaling.original_context)));
    }
    let biases = [(config.attention_bias, "attention"), (config.mlp_bias, "feed-forward")];
    let biases: Vec<&str> = biases.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    if !biases.is_empty() {
        lines.push(("biases", biases.join(", ")));
    }
    lines.iter().map(|(title, value)| format!("{title:<18}{value}")).collect::<Vec<String>>().join("\n")
}

/// As [`bytes_text`], without the unit.
fn count_text(count: u64) -> String {
    bytes_text(count).trim_end_matches('B').trim_end().to_owned()
}
