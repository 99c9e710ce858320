// Without subgroups: every lane counts as a subgroup of its own, and lanes exchange data only through workgroup memory.

const SUBGROUP_LANES: u32 = 1u;
const MOST_SUBGROUPS: u32 = WORKGROUP;
// Partials that a lane merges between two barriers. Four need half the barriers of a binary tree.
const MERGED_AT_ONCE: u32 = 4u;

fn exchanged(word: u32, mask: u32) -> u32 { return word; }
fn is_in_order(lane: u32) -> bool { return true; }
