// How a kernel reaches the words of a buffer: one to a load, wherever the buffer begins and ends. An index beyond its end is
// kept within it by the checks that every index has, and what is found there is not used.

alias Cell = u32;
const CELLS_A_QUAD: u32 = 4u;

// The cell that holds a word, and the word in it.
fn cell_index(word: u32) -> u32 { return word; }
fn cell_word(cell: Cell, word: u32) -> u32 { return cell; }
// The quad of four words' cells.
fn cells_quad(first: Cell, second: Cell, third: Cell, fourth: Cell) -> vec4<u32> {
    return vec4<u32>(first, second, third, fourth);
}
// Cell k of a quad.
fn quad_cell(quad: vec4<u32>, k: u32) -> Cell { return quad[k]; }
