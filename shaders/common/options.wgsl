// The options of every loss's kernel.

override HAS_WEIGHTS: bool = false;
override WRITE_LOSSES: bool = false;
override WRITE_GRADIENT: bool = false;
// Only counts, weights and bad elements: what the gradient of a weighted mean must know beforehand.
override ONLY_WEIGHTS: bool = false;
