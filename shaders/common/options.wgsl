// The options of every loss's kernel.

override HAS_WEIGHTS: bool = false;
override WRITE_LOSSES: bool = false;
override WRITE_GRADIENT: bool = false;
// Computes only counts, weights and bad elements, which the gradient of a weighted mean needs beforehand.
override ONLY_WEIGHTS: bool = false;
