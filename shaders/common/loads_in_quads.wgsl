// Loads of four words each. The buffer must end with a whole quad; other buffers use loads_in_words.wgsl, which sums in the
// same order and so gives the same bits. llvmpipe loads lane by lane whatever the width: with quads, multi margin over 64 Ki
// rows of 64 fell from 13.6 to 8.9 ms, the embedding of 16 Mi from 39.5 to 23.7 ms.

alias Cell = vec4<u32>;
const CELLS_A_QUAD: u32 = 1u;

// The index of the cell that holds a word, and the word within that cell.
fn cell_index(word: u32) -> u32 { return word / 4u; }
fn cell_word(cell: Cell, word: u32) -> u32 { return cell[word % 4u]; }
// The quad formed by the cells of four consecutive words.
fn cells_quad(first: Cell, second: Cell, third: Cell, fourth: Cell) -> vec4<u32> { return first; }
fn quad_cell(quad: vec4<u32>, k: u32) -> Cell { return quad; }
