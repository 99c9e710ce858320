// How a kernel reaches the words of a buffer: four to a load. The buffer ends with a whole quad; others are read word by word
// (loads_in_words.wgsl), with the same order of sums and so the same bits. llvmpipe makes a load lane by lane whatever its
// width: multi margin over 64 Ki rows of 64 went from 13.6 to 8.9 ms, the embedding of 16 Mi from 39.5 to 23.7.

alias Cell = vec4<u32>;
const CELLS_A_QUAD: u32 = 1u;

// The cell that holds a word, and the word in it.
fn cell_index(word: u32) -> u32 { return word / 4u; }
fn cell_word(cell: Cell, word: u32) -> u32 { return cell[word % 4u]; }
// The quad of four words' cells.
fn cells_quad(first: Cell, second: Cell, third: Cell, fourth: Cell) -> vec4<u32> { return first; }
// Cell k of a quad.
fn quad_cell(quad: vec4<u32>, k: u32) -> Cell { return quad; }
