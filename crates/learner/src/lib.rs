//! Inner steps, pseudo-gradient, compression and the outer step over one flat parameter vector.
