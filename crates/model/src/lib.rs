//! Llama-style decoder on flat parameter vectors with an explicit backward pass, AdamW and Hugging Face files.
