//! `pactum wallet`: the keys by which a node is known.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;
use pactum_chain::Wallet;
use pactum_cli::{Failure, output};
use pactum_protocol::Sign;

/// Makes, shows and imports the keys by which a node is known.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example: pactum wallet new --file miner/wallet.json")]
pub(crate) enum Args {
    /// Makes a new key and writes it to a file that only you may read
    #[command(after_help = "Example: pactum wallet new --file miner/wallet.json")]
    New {
        /// The file, which must not exist
        #[arg(long, default_value = "wallet.json")]
        file: PathBuf,
    },
    /// Shows the public part of a wallet
    #[command(after_help = "Example: pactum wallet show --file miner/wallet.json")]
    Show {
        /// The wallet's file
        #[arg(long, default_value = "wallet.json")]
        file: PathBuf,
        /// Also the secret words, with which anybody can make the key again
        #[arg(long)]
        secret: bool,
    },
    /// Makes the key of a secret phrase again; the phrase is read from standard input
    #[command(after_help = "Example: pactum wallet import --file miner/wallet.json < phrase.txt")]
    Import {
        /// The file, which must not exist
        #[arg(long, default_value = "wallet.json")]
        file: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::New { file } => {
            let wallet = Wallet::generate();
            wallet.save(file)?;
            output(format!("{}\nwritten to {}; keep a copy of it", describe(&wallet), file.display()))
        }
        Args::Show { file, secret } => {
            let wallet = Wallet::load(file)?;
            output(describe(&wallet))?;
            match wallet.secret_phrase().filter(|_| *secret) {
                Some(phrase) => output(format!("phrase   {phrase}")),
                None => Ok(()),
            }
        }
        Args::Import { file } => {
            let mut phrase = String::new();
            if std::io::stdin().is_terminal() {
                let ask = "type the secret words, which will be seen on the screen, then Enter:";
                // Where nobody can read it, the words may come all the same.
                let _ = writeln!(std::io::stderr(), "{ask}");
            }
            std::io::stdin().lock().read_line(&mut phrase)?;
            let wallet = Wallet::from_mnemonic(phrase.trim())?;
            wallet.save(file)?;
            output(format!("{}\nwritten to {}", describe(&wallet), file.display()))
        }
    }
}

fn describe(wallet: &Wallet) -> String {
    format!("address  {}\nhotkey   {}", wallet.address(), wallet.hotkey())
}
