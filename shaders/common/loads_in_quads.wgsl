// How a kernel reaches the words of a buffer: four to a load. The buffer ends with a whole quad.

alias Cell = vec4<u32>;
const CELLS_A_QUAD: u32 = 1u;

// The cell that holds a word, and the word in it.
fn cell_index(word: u32) -> u32 { return word / 4u; }
fn cell_word(cell: Cell, word: u32) -> u32 { return cell[word % 4u]; }
// The quad of four words' cells.
fn cells_quad(first: Cell, second: Cell, third: Cell, fourth: Cell) -> vec4<u32> { return first; }
// Cell k of a quad.
fn quad_cell(quad: vec4<u32>, k: u32) -> Cell { return quad; }
