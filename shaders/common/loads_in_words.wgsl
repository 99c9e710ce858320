// Loads of one word each, wherever the buffer begins and ends. The bounds checks keep an index within the buffer, and the
// value read for an index beyond its end is not used.

alias Cell = u32;
const CELLS_A_QUAD: u32 = 4u;

fn cell_index(word: u32) -> u32 { return word; }
fn cell_word(cell: Cell, word: u32) -> u32 { return cell; }
fn cells_quad(first: Cell, second: Cell, third: Cell, fourth: Cell) -> vec4<u32> {
    return vec4<u32>(first, second, third, fourth);
}
fn quad_cell(quad: vec4<u32>, k: u32) -> Cell { return quad[k]; }
