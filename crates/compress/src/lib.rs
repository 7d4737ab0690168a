//! SparseLoCo pseudo-gradient compression: chunked top-k, quantisation, error feedback, payload codec, bit-exact aggregation.
