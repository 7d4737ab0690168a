//! The chain a training run needs: keys, ledger rules, stake, commitments, weights and Yuma consensus.
