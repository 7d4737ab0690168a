//! What every Pactum program shares: runtime, stop signal, logging, progress and exit codes.
