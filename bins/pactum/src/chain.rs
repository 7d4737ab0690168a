//! `pactum chain`: serves the embedded chain of a run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pactum_chain::Genesis;
use pactum_cli::{Failure, Stop, output};
use pactum_data::Dataset;
use pactum_devchain::{DevChain, DevChainConfig};
use pactum_protocol::{Digest, Hparams};

/// Serves a development chain, which keeps the record of one training run, to nodes on this machine.
///
/// The first start fixes the run's settings; later starts go on with the chain in the folder, and need no options. Given
/// all the same, they must say what the first start said.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum data prepare --out data texts/; pactum chain --data data")]
pub(crate) struct Args {
    /// The chain's folder
    #[arg(long, default_value = "pactum-chain")]
    dir: PathBuf,
    /// Where to listen, on loopback
    #[arg(long, default_value = "127.0.0.1:9944")]
    listen: SocketAddr,
    /// The prepared dataset of a new run
    #[arg(long)]
    data: Option<PathBuf>,
    /// The preset of a new run [default: tiny]
    #[arg(long, conflicts_with = "hparams")]
    preset: Option<String>,
    /// All settings of a new run, as a TOML file, in place of a preset
    #[arg(long, value_name = "FILE")]
    hparams: Option<PathBuf>,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(crate) child: bool,
}

pub(crate) async fn run(args: Args, stop: Stop) -> Result<(), Failure> {
    let genesis = if DevChain::exists(&args.dir)? && !args.names_run() { None } else { Some(args.genesis()?) };
    let config = DevChainConfig { listen: args.listen, ..DevChainConfig::new(&args.dir, genesis) };
    let chain = DevChain::start(config).await?;
    output(chain.url())?;
    let halted = tokio::select! {
        biased;
        () = stop.stopped() => None,
        halted = chain.halted() => Some(halted),
    };
    chain.close().await;
    halted.map_or(Ok(()), |halted| Err(halted.into()))
}

impl Args {
    /// Whether an option says what the run is.
    fn names_run(&self) -> bool {
        self.data.is_some() || self.preset.is_some() || self.hparams.is_some()
    }

    fn genesis(&self) -> Result<Genesis, Failure> {
        let mut hparams = match &self.hparams {
            Some(file) => read(file)?,
            None => preset(self.preset.as_deref().unwrap_or("tiny"))?,
        };
        if let Some(folder) = &self.data {
            let dataset = Dataset::open(folder)?;
            check_vocabulary(&dataset, &hparams)?;
            hparams.dataset = Digest(dataset.digest());
        } else if self.hparams.is_none() {
            return Err(Failure::usage("the settings of a run need --data DIR too, the dataset that it trains on"));
        }
        hparams.validate()?;
        let blocks = hparams.time.window_blocks;
        Ok(Genesis {
            block_millis: hparams.time.block_millis,
            tempo: blocks,
            run: hparams.encode(),
            ..Genesis::default()
        })
    }
}

fn preset(name: &str) -> Result<Hparams, Failure> {
    Hparams::preset(name).ok_or_else(|| {
        let presets = pactum_protocol::PRESETS.join(", ");
        Failure::new(format!("there is no preset {name:?}; choose one of {presets}"))
    })
}

/// The run's nodes would all end at the first token that the model does not know.
fn check_vocabulary(dataset: &Dataset, hparams: &Hparams) -> Result<(), Failure> {
    let (found, known) = (dataset.index().vocab, hparams.model.vocab);
    if found <= known {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the vocabulary of the dataset {} has {found} tokens and the model of preset {} knows {known}: prepare the text \
         as bytes, or give --hparams with a larger model.vocab",
        dataset.folder().display(),
        hparams.preset,
    )))
}

fn read(file: &Path) -> Result<Hparams, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::because(format!("cannot read the settings {}", file.display()), &error))?;
    toml::from_str(&text)
        .map_err(|error| Failure::new(format!("the settings {} are not valid: {}", file.display(), error.message())))
}
